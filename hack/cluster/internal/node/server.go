// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/containerlog"
)

// APIServerUser is the name in the client certificate that may read logs.
const APIServerUser = "kube-apiserver-kubelet-client"

const (
	headerTimeout   = 10 * time.Second
	shutdownTimeout = time.Second
	unserved        = "this node runs plain processes: it serves logs, but no exec, attach, port-forward or metrics"
)

// logFinder finds a container's log file, and says when nothing more will be
// written to it.
type logFinder interface {
	logPath(ctx context.Context, namespace, pod, container string, previous bool) (path string, ended func() bool, err error)
}

// handler answers the API server as a kubelet would.
func handler(logs logFinder) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	routes.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		serveLog(w, r, logs)
	})
	routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, unserved, http.StatusNotImplemented) })
	return routes
}

func serveLog(w http.ResponseWriter, r *http.Request, logs logFinder) {
	query := r.URL.Query()
	options, err := parseLogOptions(query, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path, ended, err := logs.logPath(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"), query.Get("previous") == "true")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		code := http.StatusBadRequest // as a kubelet answers for a container that has no log
		if errdefs.IsNotFound(err) {
			code = http.StatusNotFound
		}
		if errors.Is(err, os.ErrNotExist) {
			err = errors.New("the container has no such log")
		}
		http.Error(w, err.Error(), code)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flush := http.NewResponseController(w)
	// An error here is the reader's, who is gone; there is nobody to tell.
	_ = containerlog.Copy(r.Context(), w, path, options, ended, func() { _ = flush.Flush() })
}

func parseLogOptions(query url.Values, now time.Time) (containerlog.Options, error) {
	options := containerlog.Options{Follow: query.Get("follow") == "true", Timestamps: query.Get("timestamps") == "true"}
	number := func(name string) (int64, bool, error) {
		text := query.Get(name)
		if text == "" {
			return 0, false, nil
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, false, fmt.Errorf("the parameter %s is not a number: %q", name, text)
		}
		return value, true, nil
	}
	tail, hasTail, err := number("tailLines")
	if err != nil {
		return options, err
	}
	if hasTail {
		options.Tail = &tail
	}
	if options.LimitBytes, _, err = number("limitBytes"); err != nil {
		return options, err
	}
	seconds, hasSeconds, err := number("sinceSeconds")
	if err != nil {
		return options, err
	}
	if hasSeconds {
		options.Since = now.Add(-time.Duration(seconds) * time.Second)
	}
	if text := query.Get("sinceTime"); text != "" {
		if options.Since, err = time.Parse(time.RFC3339, text); err != nil {
			return options, fmt.Errorf("the parameter sinceTime is not a time: %q", text)
		}
	}
	return options, nil
}

// serve answers the API server, and nobody else, until the context ends.
func serve(ctx context.Context, options Options, logs logFinder) error {
	authority, err := os.ReadFile(options.ClientCA)
	if err != nil {
		return fmt.Errorf("reading the authority of the API server: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(authority) {
		return fmt.Errorf("the file %s holds no certificate", options.ClientCA)
	}
	server := &http.Server{
		Handler:           handler(logs),
		ReadHeaderTimeout: headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
			VerifyConnection: onlyAPIServer,
		},
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort(options.Address.String(), strconv.Itoa(options.Port)))
	if err != nil {
		return fmt.Errorf("listening for the API server: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		_ = server.Shutdown(late)
		_ = server.Close()
	})
	defer stop()
	if err := server.ServeTLS(listener, options.Certificate, options.Key); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the API server: %w", err)
	}
	return nil
}

func onlyAPIServer(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 || state.PeerCertificates[0].Subject.CommonName != APIServerUser {
		return errors.New("only the API server may talk to the node")
	}
	return nil
}
