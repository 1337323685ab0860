# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The operator's image, for those who prefer a container engine to `make images`:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=$(git describe --tags) -t NAME .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH VERSION=dev
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
      go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$VERSION" -o /out/operator .
# The authorities' certificates, from the same pinned module.
RUN cd hack/images && go run . roots >/out/ca-certificates.crt

FROM scratch
COPY --chmod=0444 LICENSE /LICENSE
COPY --chmod=0444 --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chmod=0555 --from=build /out/operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]
