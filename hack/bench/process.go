// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
	"github.com/passthrough-dev/connector-operator/hack/internal/testbed"
)

const (
	// loadUsers have accounts of their own: a connector checks one password of a
	// user at a time.
	loadUsers = 256
	// signInsPerLoad are measured at each concurrency, after a warm-up.
	signInsPerLoad = 600
	warmUp         = 64
	// yardstickTurns is how often each yardstick is taken.
	yardstickTurns = 400
	// clockTick is the unit of CPU time in /proc.
	clockTick = 10 * time.Millisecond
)

// load is one way of signing in.
type load struct {
	name       string
	tenantArgs []string
}

// connectorProcess measures what a sign-in costs the connector's process, CPU
// and memory, network and directory included, as a multiple of what it cannot
// do without: one RSA decryption and one TLS handshake.
func connectorProcess(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "measuring connector processes (about a minute)...")
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return fmt.Errorf("making a folder for the benchmarks: %w", err)
	}
	defer os.RemoveAll(dir)
	programs := filepath.Join(dir, "bin")
	if err := testbed.Build(ctx, programs); err != nil {
		return err
	}
	fmt.Printf("\nsign-ins of a connector process, everything included (%d sign-ins each):\n\n", signInsPerLoad)
	fmt.Printf("  %-20s %10s %14s %16s %8s %10s\n", "", "concurrent", "sign-ins/s", "CPU per sign-in", "ratio", "peak RSS")
	for _, l := range []load{
		{name: "plain, inline", tenantArgs: []string{"--endpoints", "plain", "--delivery", "inline"}},
		{name: "reliable, connect", tenantArgs: []string{"--endpoints", "reliable", "--delivery", "connect"}},
	} {
		if err := l.measure(ctx, filepath.Join(dir, strings.ReplaceAll(l.name, ", ", "-")), programs); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	fmt.Printf("\n  ratio: CPU per sign-in to that of one bare RSA-2048 OAEP decryption and one full TLS 1.3 client handshake\n")
	return printOpenSSL(ctx)
}

// measure runs one system and prints a line for each concurrency.
func (l load) measure(ctx context.Context, dir, programs string) (err error) {
	bed, err := testbed.Start(ctx, testbed.Options{
		Dir: dir, WithoutCluster: true, Programs: programs, TenantArgs: l.tenantArgs,
		DirectoryArgs: []string{"--more-users", strconv.Itoa(loadUsers)},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Stop()) }()
	connector, err := bed.StartConnector(ctx, "connector-0", func(c *config.Config) { c.Validation.MaxConcurrent = 128 })
	if err != nil {
		return err
	}
	if err := connector.AwaitReady(ctx); err != nil {
		return err
	}
	for _, concurrent := range []int{1, 8, 64} {
		if err := signInLoad(ctx, bed.Tenant, warmUp, concurrent); err != nil {
			return err
		}
		decrypt, err := decryption()
		if err != nil {
			return err
		}
		shake, err := handshake(ctx, bed.Tenant)
		if err != nil {
			return err
		}
		if err := resetPeak(connector.PID()); err != nil {
			return err
		}
		before, err := cpuTime(connector.PID())
		if err != nil {
			return err
		}
		began := time.Now()
		if err := signInLoad(ctx, bed.Tenant, signInsPerLoad, concurrent); err != nil {
			return err
		}
		took := time.Since(began)
		after, err := cpuTime(connector.PID())
		if err != nil {
			return err
		}
		peak, err := peakResident(connector.PID())
		if err != nil {
			return err
		}
		each := (after - before) / signInsPerLoad
		fmt.Printf("  %-20s %10d %14.0f %13.0f µs %7.2fx %6.1f MiB   (decryption %.0f µs, handshake %.0f µs)\n",
			l.name, concurrent, signInsPerLoad/took.Seconds(), micro(each), float64(each)/float64(decrypt+shake), float64(peak)/(1<<20), micro(decrypt), micro(shake))
	}
	return nil
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// signInLoad signs n users in, some at a time. Every one must succeed.
func signInLoad(ctx context.Context, tenant *testbed.Tenant, n, concurrent int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range concurrent {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(n) {
					return
				}
				user := fmt.Sprintf("user%d@%s", i%loadUsers, ldapserver.Domain)
				result, err := tenant.SignIn(ctx, user, ldapserver.Password)
				if err == nil && result.Verdict != "success" {
					err = fmt.Errorf("%s: reason %q, AADSTS%d", result.Verdict, result.Reason, result.AADSTS)
				}
				if err != nil {
					cancel(fmt.Errorf("signing %s in: %w", user, err))
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// decryption is the CPU time of one bare RSA-2048 OAEP decryption.
func decryption() (time.Duration, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return 0, err
	}
	ciphertext, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, []byte(`{"Password":"x"}`), nil)
	if err != nil {
		return 0, err
	}
	return ownCPU(func() error {
		_, err := rsa.DecryptOAEP(sha1.New(), nil, key, ciphertext, nil)
		return err
	})
}

// handshake is this process's CPU time of one full TLS 1.3 handshake with the
// tenant, as a client.
func handshake(ctx context.Context, tenant *testbed.Tenant) (time.Duration, error) {
	root, err := tenant.CA()
	if err != nil {
		return 0, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root))
	host := strings.TrimPrefix(tenant.BootstrapURL, "https://")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS13}}
	return ownCPU(func() error {
		conn, err := dialer.DialContext(ctx, "tcp", tenant.TLS)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// ownCPU is the CPU time that this process spends on one call of f.
func ownCPU(f func() error) (time.Duration, error) {
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return 0, err
	}
	for range yardstickTurns {
		if err := f(); err != nil {
			return 0, err
		}
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		return 0, err
	}
	spent := func(r syscall.Rusage) int64 { return r.Utime.Nano() + r.Stime.Nano() }
	return time.Duration((spent(after) - spent(before)) / yardstickTurns), nil
}

// cpuTime is what a process has used so far, user and system.
func cpuTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of the connector: %w", err)
	}
	// The second field is the program's name in parentheses, which may hold
	// anything; user and system time are the 14th and 15th.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("the system's account of the connector has an unknown form")
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// resetPeak makes the system forget a process's peak memory.
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// peakResident is the most memory that a process has had resident, in bytes.
func peakResident(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of the connector: %w", err)
	}
	for l := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(l, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("the system does not tell the peak memory of the connector")
}

// printOpenSSL prints the rate of a library that other people know.
func printOpenSSL(ctx context.Context) error {
	program, err := exec.LookPath("openssl")
	if err != nil {
		fmt.Println("  openssl is not installed: its rate is left out")
		return nil
	}
	out, err := exec.CommandContext(ctx, program, "speed", "-seconds", "2", "rsa2048").CombinedOutput()
	if err != nil {
		return fmt.Errorf("measuring openssl: %w\n%s", err, out)
	}
	for l := range strings.Lines(string(out)) {
		if strings.HasPrefix(l, "rsa 2048 bits") || strings.HasPrefix(l, "rsa  2048 bits") {
			fmt.Printf("  openssl speed rsa2048: %s", l)
			return nil
		}
	}
	return fmt.Errorf("openssl printed no rate for rsa2048:\n%s", out)
}
