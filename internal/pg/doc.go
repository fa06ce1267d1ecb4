// Package pg is what the components share of Postgres: pools that log in as the
// role of one component and see its schema only, migrations, the leader lock,
// and the reading of driver errors.
package pg
