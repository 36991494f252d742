package roman

import "testing"

func TestFormat(t *testing.T) {
	for n, want := range map[int]string{1: "I", 4: "IV", 1994: "MCMXCIV"} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q, want %q", n, got, want)
		}
	}
}
