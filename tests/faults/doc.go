// Package faults kills Redis and components at random while numbered messages
// go through them, and counts what becomes of the messages. The tests are short
// unless MICRO_TEST_FAULTS says how long they run: `make faults`.
package faults
