// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

// attemptTimeout bounds one attempt to post a verdict, so that one black hole
// does not use up the time of all attempts.
const attemptTimeout = 4 * time.Second

// posting is a verdict on its way.
type posting struct {
	request    *signal.Message
	verdict    signal.Verdict
	arrived    time.Time
	validation time.Duration
}

// answerURL fills a host and port, which have been checked, into the service's
// format. The format comes over the wire as well: what it makes of them must
// still be an https URL to that very host and port, or the verdict and the
// connector's certificate could go elsewhere.
func answerURL(format, host string, port int) (*url.URL, error) {
	u, err := url.Parse(strings.NewReplacer("{0}", host, "{1}", strconv.Itoa(port)).Replace(format))
	if err != nil {
		return nil, errors.New("the service's format for answers gives no URL")
	}
	named := u.Port()
	if named == "" {
		named = "443"
	}
	if u.Scheme != "https" || u.User != nil || !strings.EqualFold(u.Hostname(), host) || named != strconv.Itoa(port) {
		return nil, fmt.Errorf("the service's format for answers, %.128q, leads elsewhere than to the host and port of the signal", format)
	}
	return u, nil
}

// post delivers a verdict, again and again with growing pauses (protocol
// section 9.5), until it is taken, the attempts are used up, or ctx ends.
func (h *Handler) post(ctx context.Context, settings Settings, to *url.URL, p *posting) error {
	header := signal.EncodeVerdict(p.verdict)
	delay := settings.InitialDelay
	var err error
	for attempt := 1; attempt <= max(1, settings.TotalAttempts); attempt++ {
		if attempt > 1 {
			timer := time.NewTimer(delay)
			select {
			case <-ctx.Done():
				timer.Stop()
				return fmt.Errorf("the time for the answer was up after %d attempts: %w", attempt-1, err)
			case <-timer.C:
			}
			delay = time.Duration(float64(delay) * settings.DelayFactor)
		}
		if err = h.attempt(ctx, to, header, attempt, p); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the time for the answer was up after %d attempts: %w", attempt, err)
		}
	}
	return err
}

func (h *Handler) attempt(ctx context.Context, to *url.URL, verdict string, attempt int, p *posting) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	target := *to
	query := target.Query()
	query.Set("requestId", guid.New().String())
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("preparing the answer: %w", err)
	}
	request.Header = h.headers(verdict, attempt, p)
	response, err := h.opts.Client.Do(request)
	if err != nil {
		return fmt.Errorf("posting the answer: %w", err)
	}
	defer response.Body.Close()
	// Read to the end, so that the connection can be used again.
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 65536)); err != nil {
		return fmt.Errorf("reading the service's receipt: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the service answered the verdict with %s", response.Status)
	}
	return nil
}

// headers are those of protocol section 9.2.
func (h *Handler) headers(verdict string, attempt int, p *posting) http.Header {
	header := http.Header{}
	for name, value := range map[string]string{
		"x-cwap-dnscachelookup-result":      "NotUsed",
		"x-cwap-connector-usesdefaultproxy": h.usesProxy(),
		"x-cwap-connector-version":          h.opts.Version,
		"x-cwap-datamodel-version":          h.opts.Version,
		"x-cwap-connector-sp-connections":   "1",
		"x-cwap-transid":                    p.request.TransactionID,
		"x-cwap-sessionid":                  guid.GUID{}.String(),
		"x-cwap-certificate-authentication": "notProcessed",
		"x-cwap-headers-size":               "0",
		"x-cwap-connector-be-latency-ms":    strconv.FormatInt(p.validation.Milliseconds(), 10),
		"x-cwap-payload-total-attempts":     "0",
		"x-cwap-connector-loadfactor":       "0",
		"x-cwap-response-total-attempts":    strconv.Itoa(attempt),
		"x-cwap-connector-all-latency-ms":   strconv.FormatInt(time.Since(p.arrived).Milliseconds(), 10),
		"x-cwap-backend-response":           verdict,
	} {
		header.Set(name, value)
	}
	return header
}

func (h *Handler) usesProxy() string {
	if h.opts.ProxyInUse {
		return "InUse"
	}
	return "NotUsed"
}
