// Package passcode makes the short codes that people copy from a mail or a
// screen, and reads them as they are typed.
package passcode
