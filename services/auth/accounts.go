package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

// account is a row of auth.accounts.
type account struct {
	Namespace string
	ID        string
	Type      string
	Name      string
	Scopes    []string
	Metadata  map[string]string
	Secret    string // a hash
	Owner     bool
	Epoch     int64
	Person    string // the mailbox of whom it belongs to, or ""
	Enrolled  bool   // the person has a second factor
	Demanded  bool   // the namespace wants one of people
}

// scopes are those that its tokens have. Without the second factor that its
// namespace wants it may only set one up.
func (a account) scopes() []string {
	if a.Person != "" && a.Demanded && !a.Enrolled {
		return []string{grants.Unenrolled.Scope()}
	}
	return a.Scopes
}

// operator says whether the account may act on other namespaces.
func (a account) operator() bool {
	return identity.Caller{Type: a.Type, Namespace: a.Namespace, Scopes: a.Scopes}.Operator()
}

func (a account) proto() *authpb.Account {
	return &authpb.Account{Id: a.ID, Type: a.Type, Name: a.Name, Scopes: a.Scopes, Metadata: a.Metadata, Issuer: a.Namespace}
}

// randomSecret is the least length of a secret that a component made up. It is
// as good as ours then, and hashed as fast.
const randomSecret = 32

// Generate implements the RPC.
func (s tokens) Generate(ctx context.Context, req *authpb.GenerateRequest) (*authpb.GenerateResponse, error) {
	if req.GetId() == "" {
		return nil, errors.New(codes.InvalidArgument, "ID required")
	}
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	caller, err := identity.RequireLogin(ctx)
	if err != nil {
		return nil, err
	}
	a := s.wanted(namespace, req)
	if err := checkAccount(a); err != nil {
		return nil, err
	}
	if err := mayMake(caller, a); err != nil {
		return nil, err
	}
	secret := req.GetSecret()
	switch {
	case secret == "":
		secret = newSecret()
		a.Secret = hashRandom(secret)
	case caller.IsComponent() && len(secret) >= randomSecret && len(secret) <= maxSecret:
		a.Secret = hashRandom(secret)
	default:
		if err := checkSecret(a.ID, secret); err != nil {
			return nil, err
		}
		if a.Secret, err = s.passwords.Hash(ctx, secret); err != nil {
			return nil, err
		}
	}
	limit := s.opts.MaxAccounts
	if caller.IsComponent() { // bounded by what makes it, for instance the services of the namespace
		limit = maxListed
	}
	if err := s.db.createAccount(ctx, a, limit); err != nil {
		return nil, creation(err, limit)
	}
	made := a.proto()
	made.Secret = secret
	return &authpb.GenerateResponse{Account: made}, nil
}

// mayMake says why a caller may not make an account, if so.
func mayMake(caller identity.Caller, a account) error {
	admin := slices.Contains(a.Scopes, "admin") // which may do what an owner may
	switch {
	case admin && grants.RoleIn(caller.Scopes) == grants.Admin:
		return errors.New(codes.PermissionDenied, "scopes: only an owner makes an account with the scope admin; invite a member with the role admin instead")
	case admin && caller.Type == identity.Service: // what a service holds, a tenant's code holds
		return errors.New(codes.PermissionDenied, "only a person may make an account with the scope admin")
	case caller.Deployed() && !harmless(a):
		return errors.New(codes.PermissionDenied, "a deployed revision makes accounts of people only (type %q), without the scopes %s: \"micro auth create account\" makes others",
			identity.User, strings.Join(mighty, ", "))
	}
	return nil
}

// mighty are the scopes that let a person do something to the namespace.
var mighty = []string{"admin", "developer", "config.secrets"}

// harmless says whether an account is of a person who may nothing in the
// namespace but what its rules and services allow.
func harmless(a account) bool {
	return a.Type == identity.User && !slices.ContainsFunc(a.Scopes, func(s string) bool { return slices.Contains(mighty, s) })
}

// wanted is the account that a request describes, with the defaults.
func (s *Service) wanted(namespace string, req *authpb.GenerateRequest) account {
	a := account{
		Namespace: namespace, ID: req.GetId(), Name: req.GetName(), Type: req.GetType(),
		Scopes: splitScopes(req.GetScopes()), Metadata: map[string]string{},
	}
	if a.Name == "" {
		a.Name = a.ID
	}
	if a.Type == "" {
		a.Type = identity.User
	}
	if a.Scopes == nil {
		a.Scopes = []string{}
	}
	a.Metadata["created"] = strconv.FormatInt(s.now().Unix(), 10)
	for k, v := range req.GetMetadata() {
		a.Metadata[k] = v
	}
	return a
}

func creation(err error, limit int) error {
	switch err {
	case errIDTaken:
		return errors.New(codes.InvalidArgument, "Account with this ID already exists").From("auth")
	case errNameTaken:
		return errors.New(codes.InvalidArgument, "Account with this Name already exists").From("auth")
	case errTooMany:
		return errors.New(codes.ResourceExhausted, "the namespace has %d accounts, which is the limit", limit)
	}
	return err
}

func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// accounts is the API auth.Accounts.
type accounts struct {
	authpb.UnsafeAccountsServer
	*Service
}

// maxListed bounds an answer of List, which has no pages on the wire, and with
// it the accounts of a namespace.
const maxListed = 15_000

// List implements the RPC.
func (s accounts) List(ctx context.Context, req *authpb.ListAccountsRequest) (*authpb.ListAccountsResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	list, err := s.db.listAccounts(ctx, namespace, maxListed)
	if err != nil {
		return nil, err
	}
	rsp := &authpb.ListAccountsResponse{}
	for _, a := range list {
		rsp.Accounts = append(rsp.Accounts, a.proto())
	}
	return rsp, nil
}

// Delete implements the RPC.
func (s accounts) Delete(ctx context.Context, req *authpb.DeleteAccountRequest) (*authpb.DeleteAccountResponse, error) {
	if req.GetId() == "" {
		return nil, errors.New(codes.InvalidArgument, "Missing ID")
	}
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	a, err := s.db.account(ctx, namespace, req.GetId())
	if err != nil {
		return nil, existing(err)
	}
	caller, _ := identity.From(ctx)
	if caller.Namespace == namespace && (caller.ID == a.ID || caller.Name == a.ID) && !caller.IsComponent() {
		return nil, errors.New(codes.InvalidArgument, "Can't delete your own account")
	}
	if a.Person != "" && !caller.IsComponent() {
		return nil, errors.New(codes.PermissionDenied, "account %q is a member of the namespace: remove it with \"micro namespace remove\"", a.ID)
	}
	if err := s.db.deleteAccount(ctx, a, s.lives()); err != nil {
		return nil, existing(err)
	}
	return &authpb.DeleteAccountResponse{}, nil
}

// ChangeSecret implements the RPC.
func (s accounts) ChangeSecret(ctx context.Context, req *authpb.ChangeSecretRequest) (*authpb.ChangeSecretResponse, error) {
	switch {
	case req.GetNewSecret() == "":
		return nil, errors.New(codes.InvalidArgument, "New secret should not be blank")
	case req.GetId() == "":
		return nil, errors.New(codes.InvalidArgument, "Missing ID")
	}
	namespace, err := identity.Member(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	caller, err := identity.RequireLogin(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkSecret(req.GetId(), req.GetNewSecret()); err != nil {
		return nil, err
	}
	a, err := s.db.account(ctx, namespace, req.GetId())
	if err != nil && err != errNoAccount {
		return nil, err
	}
	if err := s.mayChange(ctx, namespace, a, req); err != nil {
		return nil, err
	}
	hash, err := s.passwords.Hash(ctx, req.GetNewSecret())
	if err != nil {
		return nil, err
	}
	kept := "" // who changes their own password stays logged in
	if caller.Namespace == a.Namespace && caller.ID == a.ID {
		kept = caller.Session
	}
	if err := s.db.changeSecret(ctx, a, hash, kept, s.lives(), nil); err != nil {
		return nil, existing(err)
	}
	return &authpb.ChangeSecretResponse{}, nil
}

// mayChange wants the old secret from people. Operators and components need
// none; a service needs none for the accounts of services, but must not take
// over a person's.
func (s accounts) mayChange(ctx context.Context, namespace string, a account, req *authpb.ChangeSecretRequest) error {
	caller, _ := identity.From(ctx)
	if caller.Operator() || caller.IsComponent() || caller.Type == identity.Service && caller.Admin() && a.Type == identity.Service {
		if a.ID == "" {
			return existing(errNoAccount)
		}
		return nil
	}
	if len(req.GetOldSecret()) > maxSecret {
		return errWrongSecret()
	}
	return s.prove(ctx, attempt{namespace, req.GetId(), rpc.OriginOf(ctx).Address}, a, req.GetOldSecret())
}

func existing(err error) error {
	if err == errNoAccount {
		return errors.New(codes.InvalidArgument, "Account not found with this ID")
	}
	return err
}
