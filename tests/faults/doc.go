// Package faults sends numbered messages through a real platform while its
// processes are killed at random, or lose their power, and counts what becomes
// of them.
//
// A Load writes messages of one kind and finds them again, a Ledger keeps the
// book on them, a Victim is what is killed, and the report is a table of what
// was sent, acknowledged, received, lost and doubled. The tests are short unless
// MICRO_TEST_FAULTS says how long the faults last: `make faults`. The seed that
// they print goes into MICRO_TEST_FAULTS_SEED, to have the same choices again.
package faults
