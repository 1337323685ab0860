// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package consent is the authority that the tenant's administrator signs in with:
// programs ask it for device codes (RFC 8628), the administrator approves or denies
// them, and what was approved gives registration tokens and refresh tokens, each of
// which is good for one use.
//
// Codes live in memory: a tenant that was restarted has forgotten them, and whoever
// waits has to ask again. Refresh tokens survive, as hashes.
package consent

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/statefile"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/token"
)

const (
	// Administrator is the one user who may consent.
	Administrator = "admin@contoso.example"

	// codeLifetime and pollInterval are those of the service's codes.
	codeLifetime = 15 * time.Minute
	pollInterval = 5 * time.Second

	// grantLifetime is that of a refresh token that is not used.
	grantLifetime = 90 * 24 * time.Hour

	// maxCodes and maxGrants bound what is remembered.
	maxCodes  = 100
	maxGrants = 1000

	// maxTries is how many decisions may fail within a minute, so that neither codes
	// nor the password can be guessed (RFC 8628 section 5.1).
	maxTries = 10

	// letters of user codes: none that looks like another or makes words (RFC 8628
	// section 6.1).
	letters    = "BCDFGHJKLMNPQRSTVWXZ"
	codeLength = 8

	scopeRegister = trust.TokenAudience + "/user_impersonation"
	scopeOffline  = "offline_access"
)

// Tokens mints access tokens.
type Tokens interface {
	Token(r token.Request, now time.Time) (string, error)
}

// code is a device code that was given out.
type code struct {
	device   string // hash of the device code
	user     string // the user code, without dashes
	client   string
	offline  bool
	expires  time.Time
	interval time.Duration
	polled   time.Time
	decided  bool
	approved bool
}

// grant is what an administrator approved. Its name is the first part of its refresh
// tokens, of which only the last is good.
type grant struct {
	Last   string    `json:"last"` // hash of the refresh token
	Client string    `json:"client"`
	Until  time.Time `json:"until"`
}

// Authority gives codes and tokens. It is safe for concurrent use.
type Authority struct {
	tokens       Tokens
	file         string // of the grants
	passwordFile string
	password     [sha256.Size]byte
	log          logr.Logger

	mu     sync.Mutex // protects what follows
	codes  []*code
	grants map[string]grant
	// page is where administrators decide.
	page string
	// tries are when decisions failed, within the last minute.
	tries []time.Time
}

// Open reads the administrator's password and the grants in dir, and makes the
// password if there is none.
func Open(dir string, tokens Tokens, log logr.Logger) (*Authority, error) {
	a := &Authority{
		tokens: tokens, file: filepath.Join(dir, "grants.json"), passwordFile: filepath.Join(dir, "admin-password"), log: log,
		grants: map[string]grant{},
	}
	if _, err := statefile.ReadJSON(a.file, &a.grants); err != nil {
		return nil, err
	}
	password, err := os.ReadFile(a.passwordFile)
	if errors.Is(err, os.ErrNotExist) {
		password = []byte(random(15))
		err = statefile.Write(a.passwordFile, password)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the administrator's password: %w", err)
	}
	a.password = sha256.Sum256(password)
	return a, nil
}

// PasswordFile is the path of the file with the administrator's password.
func (a *Authority) PasswordFile() string { return a.passwordFile }

// DecideAt says where administrators decide; codes are given out with this address.
func (a *Authority) DecideAt(page string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.page = page
}

// Why a decision was not taken. The texts are for the administrator.
var (
	ErrTries       = errors.New("there were too many wrong entries: wait a minute, and try again")
	ErrCredentials = errors.New("the user name or the password is wrong")
	ErrCode        = errors.New("there is no such code, or it has ended or was used: check it, or ask for another one")
)

// Decide approves or denies a code as the administrator. The password is not kept. The
// error is one of those above.
func (a *Authority) Decide(userCode, username string, password []byte, approve bool) error {
	now := time.Now()
	given := sha256.Sum256(password)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tries = slices.DeleteFunc(a.tries, func(at time.Time) bool { return now.Sub(at) > time.Minute })
	if len(a.tries) >= maxTries {
		return ErrTries
	}
	if !strings.EqualFold(username, Administrator) || subtle.ConstantTimeCompare(given[:], a.password[:]) != 1 {
		a.tries = append(a.tries, now)
		return ErrCredentials
	}
	wanted := canonical(userCode)
	for _, c := range a.codes {
		if c.user == wanted && !c.decided && now.Before(c.expires) {
			c.decided, c.approved = true, approve
			a.log.Info("The administrator decided on a sign-in", "client", c.client, "approved", approve)
			return nil
		}
	}
	a.tries = append(a.tries, now)
	return ErrCode
}

// canonical is a user code as it is compared, however a person wrote it.
func canonical(userCode string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(userCode))
}

// Revoke ends all grants, so that their refresh tokens are good for nothing.
func (a *Authority) Revoke() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.remember(map[string]grant{})
}

// remember wants the lock held.
func (a *Authority) remember(grants map[string]grant) error {
	if err := statefile.WriteJSON(a.file, grants); err != nil {
		return err
	}
	a.grants = grants
	return nil
}

// newUserCode is a code to be entered by hand.
func newUserCode() string {
	var b strings.Builder
	for b.Len() < codeLength {
		var one [1]byte
		_, _ = rand.Read(one[:]) // never fails
		if n := int(one[0]); n < 256/len(letters)*len(letters) {
			b.WriteByte(letters[n%len(letters)])
		}
	}
	return b.String()
}

// random is a secret of n bytes, as text.
func random(n int) string {
	secret := make([]byte, n)
	_, _ = rand.Read(secret) // never fails
	return base64.RawURLEncoding.EncodeToString(secret)
}

func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
