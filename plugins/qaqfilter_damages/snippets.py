"""Short programs of several languages with gaps for names; written for this purpose.

`{a}`, `{b}`, `{c}` are names. Braces of the languages themselves are doubled.
"""

from __future__ import annotations

SNIPPETS: dict[str, tuple[str, ...]] = {
    "python": (
        "def {a}({b}, {c}=None):\n    result = []\n    for item in {b}:\n"
        "        if item is not {c}:\n            result.append(item)\n    return result",
        "class {a}:\n    def __init__(self, {b}):\n        self.{b} = {b}\n\n"
        "    def {c}(self):\n        return len(self.{b}) + 1",
    ),
    "java": (
        "public static int {a}(List<Integer> {b}) {{\n    int {c} = 0;\n"
        "    for (int value : {b}) {{\n        {c} += value;\n    }}\n    return {c};\n}}",
        "public class {a} {{\n    private final String {b};\n\n"
        "    public {a}(String {b}) {{\n        this.{b} = {b};\n    }}\n\n"
        "    public int {c}() {{\n        return {b}.length();\n    }}\n}}",
    ),
    "go": (
        "func {a}({b} []string) map[string]int {{\n\t{c} := make(map[string]int)\n"
        "\tfor _, item := range {b} {{\n\t\t{c}[item]++\n\t}}\n\treturn {c}\n}}",
        "func {a}({b} int) (int, error) {{\n\tif {b} < 0 {{\n"
        '\t\treturn 0, fmt.Errorf("{c}: %d", {b})\n\t}}\n\treturn {b} * 2, nil\n}}',
    ),
    "rust": (
        "fn {a}({b}: &[i64]) -> Option<i64> {{\n    let mut {c} = *{b}.first()?;\n"
        "    for value in {b}.iter() {{\n        {c} = {c}.max(*value);\n    }}\n    Some({c})\n}}",
        "impl {a} {{\n    pub fn {c}(&self) -> usize {{\n"
        "        self.{b}.iter().filter(|x| x.is_some()).count()\n    }}\n}}",
    ),
    "haskell": (
        "{a} :: [Int] -> Int\n{a} {b} = foldr step 0 {b}\n  where\n"
        "    step x {c}\n      | x > 0 = x + {c}\n      | otherwise = {c}",
        "{a} :: Eq a => [a] -> [a]\n{a} [] = []\n{a} ({b}:{c}) = {b} : {a} (filter (/= {b}) {c})",
    ),
    "bash": (
        '#!/usr/bin/env bash\n{a}() {{\n  local {b}="$1"\n  while read -r {c}; do\n'
        '    echo "${c}" | tr a-z A-Z\n  done < "${b}"\n}}\n{a} "$@"',
    ),
}

MARKS: dict[str, tuple[str, ...]] = {
    "python": ("def ", "import ", "elif ", "self.", "None", "print("),
    "java": ("public ", "private ", "void ", "new ", ";\n", "System."),
    "go": ("func ", ":=", "package ", "fmt.", "nil"),
    "rust": ("fn ", "let mut", "impl ", "->", "::", "&str"),
    "haskell": (" :: ", " -> ", "where\n", " <- ", "data "),
    "bash": ("#!/", "fi\n", "done", "echo ", "$1", "esac"),
}
"""What tells code of a language, roughly: enough not to answer in the language that was there."""
NAMES = {"py": "python", "python3": "python", "sh": "bash", "shell": "bash", "golang": "go"}
"""Other words behind a fence."""
