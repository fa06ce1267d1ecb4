package image

import (
	"debug/elf"
	"runtime"

	"github.com/micro/platform/framework/errors"
)

// checkProgram makes sure that what the container gave is a program that runs
// in an empty image.
func checkProgram(name string) error {
	refuse := func(format string, args ...any) *errors.Error { return errors.NewHTTP(422, format, args...) }
	f, err := elf.Open(name)
	if err != nil {
		return refuse("what was compiled is not a Linux program").Because(err)
	}
	defer f.Close()
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if f.Class != elf.ELFCLASS64 || want != 0 && f.Machine != want || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return refuse("what was compiled is not a program for %s", runtime.GOARCH)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return refuse("what was compiled needs libraries of the system: it must be static")
		}
	}
	return nil
}
