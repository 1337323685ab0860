// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// maxBody bounds how much of an answer goes into a failure's message.
const maxBody = 1024

// Ask asks the container once. The context carries the probe's deadline. A nil
// error is a success; anything else is the failure's message.
type Ask func(ctx context.Context) error

// Supported says whether this node can perform the probe.
func Supported(probe *corev1.Probe) bool {
	return probe == nil || probe.HTTPGet != nil || probe.TCPSocket != nil
}

// Prepare resolves names and defaults of a probe of the container, whose pod
// has the given address.
func Prepare(probe *corev1.Probe, container *corev1.Container, podIP string) (Ask, error) {
	switch {
	case probe.HTTPGet != nil:
		return prepareHTTP(probe.HTTPGet, container, podIP)
	case probe.TCPSocket != nil:
		port, err := portNumber(probe.TCPSocket.Port, container)
		if err != nil {
			return nil, err
		}
		host := probe.TCPSocket.Host
		if host == "" {
			host = podIP
		}
		return askTCP(net.JoinHostPort(host, strconv.Itoa(port))), nil
	default:
		return nil, errors.New("this node performs only httpGet and tcpSocket probes")
	}
}

func prepareHTTP(action *corev1.HTTPGetAction, container *corev1.Container, podIP string) (Ask, error) {
	port, err := portNumber(action.Port, container)
	if err != nil {
		return nil, err
	}
	host := action.Host
	if host == "" {
		host = podIP
	}
	target, err := url.Parse(action.Path)
	if err != nil {
		return nil, fmt.Errorf("the probe's path %q is not valid: %w", action.Path, err)
	}
	target.Scheme = strings.ToLower(string(action.Scheme))
	if target.Scheme == "" {
		target.Scheme = "http"
	}
	target.Host = net.JoinHostPort(host, strconv.Itoa(port))
	return askHTTP(target.String(), action.HTTPHeaders), nil
}

// askHTTP uses a connection of its own for each question, like the kubelet: a
// kept-alive connection would hide a listener that has gone.
func askHTTP(target string, headers []corev1.HTTPHeader) Ask {
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			// A probe asks whether the container answers, not who it is, as the
			// kubelet's do.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return err
		}
		request.Header.Set("User-Agent", "kube-probe/kubecluster")
		request.Header.Set("Accept", "*/*")
		for _, header := range headers {
			if strings.EqualFold(header.Name, "Host") {
				request.Host = header.Value
				continue
			}
			request.Header.Add(header.Name, header.Value)
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode >= http.StatusOK && response.StatusCode < http.StatusBadRequest {
			return nil
		}
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxBody))
		return fmt.Errorf("HTTP probe failed with statuscode: %d %s", response.StatusCode, strings.TrimSpace(string(body)))
	}
}

func askTCP(target string) Ask {
	return func(ctx context.Context) error {
		var dialer net.Dialer
		connection, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

func portNumber(port intstr.IntOrString, container *corev1.Container) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, named := range container.Ports {
		if named.Name == port.StrVal {
			return int(named.ContainerPort), nil
		}
	}
	if number, err := strconv.Atoi(port.StrVal); err == nil {
		return number, nil
	}
	return 0, fmt.Errorf("container %s has no port named %q", container.Name, port.StrVal)
}
