// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
)

// quietRecorder drops the events that virtual-kubelet records about its own
// provider: the runner tells the same story in the kubelet's words.
type quietRecorder struct{ record.EventRecorder }

func (q quietRecorder) Event(object runtime.Object, eventType, reason, message string) {
	if eventType == corev1.EventTypeNormal && strings.HasPrefix(reason, "Provider") {
		return
	}
	q.EventRecorder.Event(object, eventType, reason, message)
}

func (q quietRecorder) Eventf(object runtime.Object, eventType, reason, format string, arguments ...any) {
	q.Event(object, eventType, reason, fmt.Sprintf(format, arguments...))
}
