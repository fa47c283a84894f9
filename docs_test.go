// SPDX-License-Identifier: Apache-2.0

package contiv

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What documents say is shown by a test must name one that is there.
func TestTestsThatDocumentsNameAreThere(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	documents := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		test, document := strings.HasSuffix(path, "_test.go"), strings.HasPrefix(path, "docs/") && strings.HasSuffix(path, ".md")
		if !test && !document {
			return nil
		}
		text, err := os.ReadFile(path)
		if test {
			code.Write(text)
		} else {
			documents[path] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`")
	found := 0
	for path, text := range documents {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			found++
			if !strings.Contains(code.String(), "func "+m[1]+"(") {
				t.Errorf("%s names %s, which is not there", path, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("documents name %d tests: the pattern finds too few", found)
	}
}
