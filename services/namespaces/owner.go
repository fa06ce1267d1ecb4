package namespaces

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pause"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// ownerTimeout bounds one attempt to have an account made.
	ownerTimeout = 5 * time.Second
	// headStart is how long an order is left to the request that placed it.
	headStart = ownerTimeout + time.Second
	// orderBatch is how many orders are taken at once.
	orderBatch = 10
	// pruneEvery is the time between two removals of old codes.
	pruneEvery = time.Minute
)

// carryOut has the owner's account made for the person who waits for it.
func (s *Service) carryOut(ctx context.Context, o order) error {
	err := s.makeOwner(ctx, o)
	if err == nil || errors.Code(err) == codes.AlreadyExists {
		return err
	}
	return errors.New(codes.Unavailable, "your namespace %q is being made: log in with \"micro login\" in a moment", o.Namespace).Because(err)
}

// makeOwner carries out an order. Doing it twice does no harm; what can never
// be done is undone.
func (s *Service) makeOwner(ctx context.Context, o order) error {
	ctx, cancel := context.WithTimeout(identity.AsComponent(ctx), ownerTimeout)
	defer cancel()
	_, err := s.owners.CreateOwner(ctx, &authpb.CreateOwnerRequest{
		Namespace: o.Namespace, Id: o.Account, PasswordHash: o.PasswordHash, Mailbox: o.Mailbox,
		Login: &authpb.ExternalLogin{Provider: o.Provider, Subject: o.Subject, Email: o.Email},
	})
	switch errors.Code(err) {
	case codes.OK:
		return s.db.activate(ctx, o.Namespace)
	case codes.AlreadyExists: // an account that did not come from signing up
		if err := s.db.undo(ctx, o.Namespace); err != nil {
			return err
		}
		return knownAddress()
	default:
		return fmt.Errorf("make owner of %s: %w", o.Namespace, err)
	}
}

// orderLoop carries out the orders that a crash, or auth being away, has left.
func (s *Service) orderLoop(ctx context.Context) error {
	for range pause.Ticks(ctx, s.opts.Retry) {
		if err := s.carryOutDue(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "owners and members are not made yet, trying again", "error", err)
		}
	}
	return nil
}

func (s *Service) carryOutDue(ctx context.Context) error {
	orders, err := s.db.due(ctx, orderBatch)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range orders {
		errs = append(errs, s.makeOwner(ctx, o))
	}
	changes, err := s.db.dueMembers(ctx, orderBatch)
	errs = append(errs, err)
	for _, o := range changes {
		errs = append(errs, s.tellAuth(ctx, o))
	}
	return errors.Join(errs...)
}

// carryOutMembers has orders about members carried out for the person who waits
// for it.
func (s *Service) carryOutMembers(ctx context.Context, orders []memberOrder) error {
	var errs []error
	for _, o := range orders {
		errs = append(errs, s.tellAuth(ctx, o))
	}
	if err := errors.Join(errs...); err != nil {
		return errors.New(codes.Unavailable, "it is decided, and will be in force in a moment").Because(err)
	}
	return nil
}

// tellAuth carries out an order. Doing it twice, or after a later one, does no
// harm.
func (s *Service) tellAuth(ctx context.Context, o memberOrder) error {
	bounded, cancel := context.WithTimeout(identity.AsComponent(ctx), ownerTimeout)
	defer cancel()
	var err error
	if o.Account == "" {
		_, err = s.owners.SetPolicy(bounded, &authpb.SetPolicyRequest{Namespace: o.Namespace, RequireSecondFactor: o.SecondFactor, Version: o.Version})
	} else {
		_, err = s.owners.SetMember(bounded, &authpb.SetMemberRequest{
			Namespace: o.Namespace, Account: o.Account, Mailbox: o.Mailbox, Role: string(o.Role), Version: o.Version, PasswordHash: o.PasswordHash,
		})
	}
	if err != nil {
		return fmt.Errorf("tell auth about %q in %s: %w", o.Account, o.Namespace, err)
	}
	return s.db.closeOrder(bounded, o)
}

func (s *Service) pruneLoop(ctx context.Context) error {
	for range pause.Ticks(ctx, pruneEvery) {
		if err := s.db.forgetCodes(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old codes and invitations were not removed", "error", err)
		}
		if err := s.db.forgetDeletions(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "who deleted namespaces is still known", "error", err)
		}
		if err := s.db.pruneImports(ctx, s.now().Add(-importLife)); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old imports were not forgotten", "error", err)
		}
	}
	return nil
}
