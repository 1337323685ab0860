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
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

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
	// idleTurns is how often each yardstick is taken on an idle machine.
	idleTurns = 400
	// yardstickPause lies between two of them that are taken beside the load, so
	// that they are not a load themselves.
	yardstickPause = 20 * time.Millisecond
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
	fmt.Printf("  %-20s %10s %14s %16s %8s %8s %10s\n", "", "concurrent", "sign-ins/s", "CPU per sign-in", "ratio", "idle", "peak RSS")
	for _, l := range []load{
		{name: "plain, inline", tenantArgs: []string{"--endpoints", "plain", "--delivery", "inline"}},
		{name: "reliable, connect", tenantArgs: []string{"--endpoints", "reliable", "--delivery", "connect"}},
	} {
		if err := l.measure(ctx, filepath.Join(dir, strings.ReplaceAll(l.name, ", ", "-")), programs); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	fmt.Printf("\n  ratio: CPU per sign-in to that of one bare RSA-2048 OAEP decryption and one full TLS 1.3 client handshake,\n" +
		"  both taken again and again beside the load, on the same busy processor; idle: to those taken one after the other before it\n")
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
	decrypt, err := decryption()
	if err != nil {
		return err
	}
	shake, err := handshake(ctx, bed.Tenant)
	if err != nil {
		return err
	}
	for _, concurrent := range []int{1, 8, 64} {
		if err := signInLoad(ctx, bed.Tenant, warmUp, concurrent); err != nil {
			return err
		}
		idle, err := takenIdle(decrypt, shake)
		if err != nil {
			return err
		}
		u, err := usage(ctx, bed.Tenant, connector.PID(), concurrent, takenBeside(decrypt, shake))
		if err != nil {
			return err
		}
		fmt.Printf("  %-20s %10d %14.0f %13.0f µs %7.2fx %7.2fx %6.1f MiB   (decryption %.0f µs, idle %.0f; handshake %.0f µs, idle %.0f)\n",
			l.name, concurrent, signInsPerLoad/u.took.Seconds(), micro(u.each), ratio(u.each, u.busy), ratio(u.each, idle), float64(u.peak)/(1<<20),
			micro(u.busy.decrypt), micro(idle.decrypt), micro(u.busy.shake), micro(idle.shake))
	}
	return nil
}

// used is what a load took.
type used struct {
	took, each time.Duration // in all; CPU of the connector for one sign-in
	peak       int64         // bytes
	busy       yardsticks
}

// usage signs users in and looks at the connector before and after. beside runs
// meanwhile, until its context ends.
func usage(ctx context.Context, tenant *testbed.Tenant, pid, concurrent int, beside func(context.Context) (yardsticks, error)) (u used, err error) {
	if err := resetPeak(pid); err != nil {
		return u, err
	}
	before, err := cpuTime(pid)
	if err != nil {
		return u, err
	}
	loaded, done := context.WithCancel(ctx)
	var taken sync.WaitGroup
	var besides error
	taken.Go(func() { u.busy, besides = beside(loaded) })
	began := time.Now()
	err = signInLoad(ctx, tenant, signInsPerLoad, concurrent)
	u.took = time.Since(began)
	done()
	taken.Wait()
	if err := errors.Join(err, besides); err != nil {
		return u, err
	}
	after, err := cpuTime(pid)
	if err != nil {
		return u, err
	}
	u.each = (after - before) / signInsPerLoad
	u.peak, err = peakResident(pid)
	return u, err
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

// yardsticks are the CPU times of what a sign-in cannot do without.
type yardsticks struct{ decrypt, shake time.Duration }

func ratio(each time.Duration, y yardsticks) float64 {
	return float64(each) / float64(y.decrypt+y.shake)
}

// decryption returns one bare RSA-2048 OAEP decryption.
func decryption() (func() error, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	ciphertext, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, []byte(`{"Password":"x"}`), nil)
	if err != nil {
		return nil, err
	}
	return func() error {
		_, err := rsa.DecryptOAEP(sha1.New(), nil, key, ciphertext, nil)
		return err
	}, nil
}

// handshake returns one full TLS 1.3 handshake with the tenant, as a client.
func handshake(ctx context.Context, tenant *testbed.Tenant) (func() error, error) {
	root, err := tenant.CA()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root))
	host := strings.TrimPrefix(tenant.BootstrapURL, "https://")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS13}}
	return func() error {
		conn, err := dialer.DialContext(ctx, "tcp", tenant.TLS)
		if err != nil {
			return err
		}
		return conn.Close()
	}, nil
}

// takenIdle takes both yardsticks on a machine that does nothing else.
func takenIdle(decrypt, shake func() error) (y yardsticks, err error) {
	for what, taken := range map[*time.Duration]func() error{&y.decrypt: decrypt, &y.shake: shake} {
		*what, err = onThread(func() error {
			for range idleTurns {
				if err := taken(); err != nil {
					return err
				}
			}
			return nil
		})
		*what /= idleTurns
		if err != nil {
			return y, err
		}
	}
	return y, nil
}

// takenBeside returns what takes both yardsticks by turns, with pauses, until its
// context ends. A processor that is shared with others is slower at everything:
// what is compared with each other must be measured together.
func takenBeside(decrypt, shake func() error) func(context.Context) (yardsticks, error) {
	return func(ctx context.Context) (y yardsticks, err error) {
		pause := time.NewTicker(yardstickPause)
		defer pause.Stop()
		var turns time.Duration
		for ; ctx.Err() == nil || turns == 0; turns++ {
			for what, taken := range map[*time.Duration]func() error{&y.decrypt: decrypt, &y.shake: shake} {
				spent, err := onThread(taken)
				if err != nil {
					return y, err
				}
				*what += spent
				select {
				case <-pause.C:
				case <-ctx.Done():
				}
			}
		}
		return yardsticks{y.decrypt / turns, y.shake / turns}, nil
	}
}

// onThread is the CPU time of f, which must not leave its work to others.
func onThread(f func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadCPU()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := threadCPU()
	return after - before, err
}

func threadCPU() (time.Duration, error) {
	var spent unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &spent); err != nil {
		return 0, fmt.Errorf("reading the CPU time of a thread: %w", err)
	}
	return time.Duration(spent.Nano()), nil
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
