//! Rust source as far as the house rules need it: code and comments told apart, test code found, paths spelled out.

use std::fs;
use std::path::Path;

/// One source file.
pub struct Source {
    /// From the root of the repository.
    pub path: String,
    /// The whole file is a test module.
    pub is_test_file: bool,
    text: String,
    /// The text with everything but code blanked; as long as the text.
    code: String,
    /// The text with everything but comments blanked.
    comments: String,
    /// Byte ranges of code under `#[cfg(test)]`.
    tests: Vec<(usize, usize)>,
    /// Every path in the code, groups spelled out: `use a::{b, c::d}` gives `a::b` and `a::c::d`. With its place.
    paths: Vec<(usize, String)>,
}

impl Source {
    pub fn new(path: String, text: String) -> Self {
        let (code, comments) = split(&text);
        let tests = test_ranges(&code);
        let paths = paths(&code);
        Self { path, is_test_file: false, text, code, comments, tests, paths }
    }

    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|(start, end)| (*start..*end).contains(&at))
    }

    /// Lines of code outside of tests in which `name` (a name, or a path) stands.
    pub fn code_lines_with(&self, name: &str) -> Vec<usize> {
        self.code_lines_with_but(name, &[])
    }

    /// The same, less the paths that contain one of `but`.
    pub fn code_lines_with_but(&self, name: &str, but: &[&str]) -> Vec<usize> {
        let mut lines: Vec<usize> = self
            .paths
            .iter()
            .filter(|(at, path)| !self.is_test(*at) && has_words(path, name))
            .filter(|(_, path)| !but.iter().any(|longer| has_words(path, longer)))
            .map(|(at, _)| self.line(*at))
            .collect();
        lines.dedup();
        lines
    }

    /// Lines of code, tests included, with `word`.
    pub fn all_code_lines_with(&self, word: &str) -> Vec<usize> {
        find_words(&self.code, word).into_iter().map(|at| self.line(at)).collect()
    }

    /// Lines of comments with `word`.
    pub fn comment_lines_with(&self, word: &str) -> Vec<usize> {
        find_words(&self.comments, word).into_iter().map(|at| self.line(at)).collect()
    }

    /// First segments after `crate::`, `ketcd::`, or as many `super::` as lead to the crate's root.
    pub fn rooms_named(&self) -> Vec<(usize, String)> {
        let depth = self.path.trim_start_matches("src/").trim_end_matches("/mod.rs").split('/').count();
        let mut rooms = Vec::new();
        for (at, path) in &self.paths {
            let segments: Vec<&str> = path.split("::").collect();
            let supers = segments.iter().take_while(|segment| **segment == "super").count();
            let depth = depth + usize::from(self.is_test(*at));
            let room = match segments.first() {
                Some(&"crate" | &"ketcd") => segments.get(1),
                _ if supers > 0 && supers >= depth => segments.get(supers),
                _ => None,
            };
            if let Some(room) = room {
                rooms.push((self.line(*at), (*room).to_owned()));
            }
        }
        rooms.dedup();
        rooms
    }

    /// The first segment of `T` in every `name::<T>` of the code.
    pub fn generic_arguments_of(&self, name: &str) -> Vec<String> {
        let pattern = format!("{name}::<");
        let starts = find_words(&self.code, &pattern);
        starts
            .into_iter()
            .map(|at| {
                let argument = &self.code[at + pattern.len()..];
                let argument = argument.trim_start_matches("crate::handlers::").trim_start_matches("super::");
                argument.chars().take_while(|c| is_word(*c)).collect()
            })
            .collect()
    }

    /// Whether this file is the module at `path` (without `.rs`), or a part of it.
    pub fn is_under(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }
}

/// Every Rust file under `folder` of `root`.
pub fn read_tree(root: &str, folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let Ok(entries) = fs::read_dir(Path::new(root).join(folder)) else { return sources };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap()).collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            sources.extend(read_tree(root, &path));
        } else if path.ends_with(".rs") {
            sources.push(Source::new(path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
    sources
}

/// Modules that are declared `#[cfg(test)] mod name;`, as paths without `.rs`.
pub fn test_modules(sources: &[Source]) -> Vec<String> {
    let mut modules = Vec::new();
    for source in sources {
        let folder = source.path.trim_end_matches(".rs");
        let folder = folder.strip_suffix("/mod").or_else(|| folder.strip_suffix("/lib")).unwrap_or(folder);
        for (start, end) in &source.tests {
            let item = source.code[*start..*end].trim();
            if let Some(name) = item.rsplit(' ').next().and_then(|name| name.strip_suffix(';'))
                && item.contains("mod ")
                && !item.contains('{')
            {
                modules.push(format!("{folder}/{name}"));
            }
        }
    }
    modules
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands in `text` and is no part of a longer word.
fn find_words(text: &str, word: &str) -> Vec<usize> {
    let starts_wordy = word.starts_with(is_word);
    let ends_wordy = word.ends_with(is_word);
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = text[..*at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            let is_part =
                starts_wordy && before.is_some_and(is_word) || ends_wordy && after.is_some_and(is_word);
            !is_part
        })
        .collect()
}

fn has_words(path: &str, name: &str) -> bool {
    !find_words(path, name).is_empty()
}

/// Splits a text into code and comments, each blanked where the other (or a literal) stands. Offsets stay.
fn split(text: &str) -> (String, String) {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut code = String::with_capacity(text.len());
    let mut comments = String::with_capacity(text.len());
    let put = |to_code: bool, to_comments: bool, c: char, code: &mut String, comments: &mut String| {
        for (wanted, out) in [(to_code, code), (to_comments, comments)] {
            if wanted || c == '\n' {
                out.push(c);
            } else {
                out.extend(std::iter::repeat_n(' ', c.len_utf8()));
            }
        }
    };
    let at = |i: usize| chars.get(i).map_or('\0', |(_, c)| *c);
    let mut i = 0;
    while i < chars.len() {
        let end = literal_or_comment_end(&at, i, chars.len());
        match end {
            Some((end, is_comment)) => {
                for k in i..end {
                    put(false, is_comment, at(k), &mut code, &mut comments);
                }
                i = end;
            }
            None => {
                // A word is taken whole, so that the `r` of `for` does not begin a raw string.
                let start = i;
                while i == start || (i < chars.len() && is_word(at(i)) && is_word(at(i - 1))) {
                    put(true, false, at(i), &mut code, &mut comments);
                    i += 1;
                }
            }
        }
    }
    (code, comments)
}

/// Where the comment (true) or literal (false) that begins at `i` ends; `None`: code stands there.
fn literal_or_comment_end(at: &impl Fn(usize) -> char, i: usize, end: usize) -> Option<(usize, bool)> {
    match (at(i), at(i + 1)) {
        ('/', '/') => Some(((i..end).find(|k| at(*k) == '\n').unwrap_or(end), true)),
        ('/', '*') => {
            let (mut depth, mut k) = (1, i + 2);
            while k < end && depth > 0 {
                match (at(k), at(k + 1)) {
                    ('/', '*') => (depth, k) = (depth + 1, k + 2),
                    ('*', '/') => (depth, k) = (depth - 1, k + 2),
                    _ => k += 1,
                }
            }
            Some((k.min(end), true))
        }
        ('"', _) => Some((string_end(at, i + 1, end), false)),
        ('b' | 'c', '"') => Some((string_end(at, i + 2, end), false)),
        ('r', '"' | '#') => raw_end(at, i + 1, end),
        ('b' | 'c', 'r') if matches!(at(i + 2), '"' | '#') => raw_end(at, i + 2, end),
        // A character, not a lifetime: it ends after one character or an escape.
        ('\'', '\\') => Some(((i + 3..end).find(|k| at(*k) == '\'').map_or(end, |k| k + 1), false)),
        ('\'', _) if at(i + 2) == '\'' => Some((i + 3, false)),
        _ => None,
    }
}

fn string_end(at: &impl Fn(usize) -> char, mut k: usize, end: usize) -> usize {
    while k < end && at(k) != '"' {
        k += if at(k) == '\\' { 2 } else { 1 };
    }
    (k + 1).min(end)
}

fn raw_end(at: &impl Fn(usize) -> char, start: usize, end: usize) -> Option<(usize, bool)> {
    let hashes = (start..end).take_while(|k| at(*k) == '#').count();
    if at(start + hashes) != '"' {
        return None; // a raw identifier
    }
    let mut k = start + hashes + 1;
    while k < end && !(at(k) == '"' && (1..=hashes).all(|n| at(k + n) == '#')) {
        k += 1;
    }
    Some(((k + 1 + hashes).min(end), false))
}

/// The items behind `#[cfg(test)]`: up to their `;`, or to the brace that closes them.
fn test_ranges(code: &str) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        if ranges.last().is_some_and(|(_, end)| start < *end) {
            continue;
        }
        let mut depth = 0;
        let end = code[start..].char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(c, ';' | '}')
        });
        ranges.push((start, end.map_or(code.len(), |(at, _)| start + at + 1)));
    }
    ranges
}

/// Every path and name in `code`. Groups in braces after `::` are spelled out.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // Open groups: the path before the brace; `None` for braces that are no group.
    let mut groups: Vec<Option<String>> = Vec::new();
    let mut path = String::new();
    let mut start = 0;
    let mut flush = |path: &mut String, start: usize, groups: &[Option<String>]| {
        if !path.is_empty() {
            let prefix = groups.last().and_then(Option::as_deref).unwrap_or_default();
            found.push((start, format!("{prefix}{path}")));
            path.clear();
        }
    };
    let mut previous = ' ';
    let mut chars = code.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if is_word(c) {
            if !is_word(previous) && !path.is_empty() && !path.ends_with("::") {
                flush(&mut path, start, &groups);
            }
            if path.is_empty() {
                start = at;
            }
            path.push(c);
        } else if c == ':' && chars.peek().is_some_and(|(_, next)| *next == ':') {
            chars.next();
            path.push_str("::");
        } else if c == '{' {
            let prefix = groups.last().and_then(Option::as_deref).unwrap_or_default();
            if path.ends_with("::") {
                groups.push(Some(format!("{prefix}{path}")));
                path.clear();
            } else {
                flush(&mut path, start, &groups);
                groups.push(None);
            }
        } else if c == '}' {
            flush(&mut path, start, &groups);
            groups.pop();
        } else if !c.is_whitespace() {
            flush(&mut path, start, &groups);
        }
        previous = c;
    }
    flush(&mut path, start, &groups);
    found
}
