//! RE2's syntax written in that of the `regex` crate.
//!
//! Nearly all of it is the same. Different are: `\Q..\E`, braces that repeat nothing, doubled repetitions, flags, `\p{^Name}`, the limit
//! of a repetition, octal numbers (`\123`), and inside of a class `[`, `&&`, `--` and `~~`, which are plain characters to RE2. Source:
//! RE2's `syntax.txt`; what RE2/J makes of some hundred patterns is in the golden file that the tests of `regex` read.

use std::iter::Peekable;
use std::str::Chars;

/// The most that RE2 repeats.
const REPEAT_MAX: u32 = 1000;
/// What stands between `[:` and `:]`.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];
/// Longer than any set of flags or name of a class; looking further would cost time quadratic in the pattern.
const LOOK_AHEAD: usize = 16;

/// Turns `pattern` into one for the `regex` crate. What neither of them reads is left for that crate to refuse.
///
/// # Errors
/// Says what RE2 refuses and the `regex` crate would accept.
pub fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    let mut depth = 0_usize;
    let mut repeats = Repeats::default();
    while let Some(c) = rest.next() {
        match c {
            '*' | '+' | '?' => {
                repeats.see(c)?;
                out.push(c);
                continue;
            }
            '{' => match repetition(&rest) {
                Some(text) => {
                    check_repetition(&text)?;
                    repeats.see('{')?;
                    rest.nth(text.len());
                    out.push_str(&format!("{{{text}}}"));
                    continue;
                }
                None => out.push_str(r"\{"),
            },
            '}' => out.push_str(r"\}"),
            '\\' => escape(&mut rest, &mut out)?,
            '[' => class(&mut rest, &mut out)?,
            '(' => {
                depth += 1;
                out.push('(');
                if rest.peek() == Some(&'?') {
                    check_flags(rest.clone())?;
                    // The `?` is no repetition.
                    out.extend(rest.next());
                }
            }
            ')' if depth == 0 => return Err("unexpected `)`".to_owned()),
            ')' => {
                depth -= 1;
                out.push(')');
            }
            _ => out.push(c),
        }
        repeats = Repeats::default();
    }
    Ok(out)
}

/// The repetitions directly before: RE2 takes one, and a `?` that makes it lazy.
#[derive(Default)]
struct Repeats {
    seen: bool,
    lazy: bool,
}

impl Repeats {
    fn see(&mut self, operator: char) -> Result<(), String> {
        match (self.seen, self.lazy, operator) {
            (false, ..) => self.seen = true,
            (true, false, '?') => self.lazy = true,
            _ => return Err(format!("invalid nested repetition operator before `{operator}`")),
        }
        Ok(())
    }
}

/// What stands between braces, if it is a repetition: `n`, `n,` or `n,m`.
fn repetition(rest: &Peekable<Chars<'_>>) -> Option<String> {
    let text: String = rest.clone().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    if rest.clone().nth(text.len()) != Some('}') {
        return None;
    }
    let (least, most) = text.split_once(',').unwrap_or((&text, ""));
    (!least.is_empty() && !most.contains(',')).then_some(text)
}

fn check_repetition(text: &str) -> Result<(), String> {
    let allowed = |n: &str| n.is_empty() || n.parse::<u32>().is_ok_and(|n| n <= REPEAT_MAX);
    if text.split(',').all(allowed) { Ok(()) } else { Err(format!("invalid repeat count `{{{text}}}`")) }
}

/// After a backslash outside of a class.
fn escape(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    match rest.next() {
        None => return Err("trailing backslash at end of expression".to_owned()),
        Some('Q') => {
            while let Some(c) = rest.next() {
                if c == '\\' && rest.next_if_eq(&'E').is_some() {
                    break;
                }
                out.push_str(&::regex::escape(c.encode_utf8(&mut [0; 4])));
            }
        }
        Some(c @ ('p' | 'P')) => {
            let mut ahead = rest.clone();
            if (ahead.next(), ahead.next()) == (Some('{'), Some('^')) {
                out.push_str(if c == 'p' { r"\P{" } else { r"\p{" });
                rest.by_ref().take(2).for_each(drop);
            } else {
                out.extend(['\\', c]);
            }
            if rest.peek() == Some(&'{') || out.ends_with('{') {
                // The braces are of the name, not of a repetition.
                for c in rest.by_ref() {
                    out.push(c);
                    if c == '}' {
                        break;
                    }
                }
            } else {
                out.extend(rest.next());
            }
        }
        Some('x') => {
            out.push_str(r"\x");
            if rest.peek() == Some(&'{') {
                for c in rest.by_ref() {
                    out.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
        }
        Some(c @ '0'..='7') => octal(c, rest, out),
        Some(c @ ('u' | 'U')) => return Err(format!("invalid escape sequence: `\\{c}`")),
        Some('<') => out.push('<'),
        Some('>') => out.push('>'),
        Some(c) => out.extend(['\\', c]),
    }
    Ok(())
}

/// After a backslash and `first`: a character by its octal number, of at most three digits. One digit but `0` would be a reference back,
/// which is left for the crate to refuse.
fn octal(first: char, rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    let next = rest.peek().and_then(|c| c.to_digit(8));
    match (first.to_digit(8), next) {
        (Some(mut number), next) if number == 0 || next.is_some() => {
            for _ in 0..2 {
                let Some(digit) = rest.peek().and_then(|c| c.to_digit(8)) else { break };
                number = number * 8 + digit;
                rest.next();
            }
            out.push_str(&format!(r"\x{{{number:x}}}"));
        }
        _ => out.extend(['\\', first]),
    }
}

/// After `(?`: RE2 knows the flags i, m, s and U, and names of groups.
fn check_flags(rest: Peekable<Chars<'_>>) -> Result<(), String> {
    let flags: String = rest.skip(1).take(LOOK_AHEAD).take_while(|c| !matches!(c, ':' | ')' | '<')).collect();
    if flags == "P" || flags.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
        Ok(())
    } else {
        Err(format!("invalid or unsupported Perl syntax: `(?{flags}`"))
    }
}

/// After the `[` that opens a class, up to its `]`.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    out.push('[');
    if rest.peek() == Some(&'^') {
        out.extend(rest.next());
    }
    let mut first = true;
    while let Some(c) = rest.next() {
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            ']' => out.push_str(r"\]"),
            '[' => {
                let name: String = rest.clone().take(LOOK_AHEAD).take_while(|c| *c != ']').collect();
                if name.len() > 1 && name.starts_with(':') && name.ends_with(':') {
                    if !POSIX_CLASSES.contains(&name.trim_matches(':').trim_start_matches('^')) {
                        return Err(format!("invalid character class range: `[{name}]`"));
                    }
                    out.push('[');
                    out.extend(rest.by_ref().take(name.chars().count() + 1));
                } else {
                    out.push_str(r"\[");
                }
            }
            '&' | '~' => out.extend(['\\', c]),
            '-' if rest.peek() == Some(&'-') => {
                out.push_str(r"-\-");
                rest.next();
            }
            '\\' => match rest.next() {
                Some(digit @ '0'..='7') => octal(digit, rest, out),
                escaped => out.extend(['\\'].into_iter().chain(escaped)),
            },
            _ => out.push(c),
        }
        first = false;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::translate;
    use ::regex::Regex;

    fn matches(pattern: &str, text: &str) -> bool {
        let translated = translate(pattern).unwrap();
        Regex::new(&format!(r"\A(?:{translated})\z")).unwrap().is_match(text)
    }

    #[test]
    fn what_both_read_alike_is_left_alone() {
        for same in
            [r"a.b*c+?", r"(?i:x)|y{2,3}", r"[^a-z\d]*", r"\pL\p{Greek}\x41\x{42}", r"(?P<n>a)(?<m>b)"]
        {
            assert_eq!(translate(same).unwrap(), same);
        }
    }

    #[test]
    fn quotes_are_literal() {
        assert!(matches(r"\Qa.b*\E+", "a.b**"));
        assert!(!matches(r"\Qa.b\E", "axb"));
        assert!(matches(r"\Qa.b", "a.b"), "a quote may be left open");
    }

    #[test]
    fn braces_that_repeat_nothing_are_literal() {
        assert!(matches("a{b}", "a{b}"));
        assert!(matches("a{,2}", "a{,2}"));
        assert!(matches("a{", "a{"));
        assert!(matches("a{2", "a{2"));
        assert!(matches("a{2}", "aa"));
        assert!(translate("a{1001}").is_err());
        assert!(translate("a{1,1001}").is_err());
    }

    #[test]
    fn one_repetition_and_one_laziness_at_most() {
        for refused in ["a**", "a+*", "a??*", "a{2}{3}", "a*??"] {
            assert!(translate(refused).is_err(), "{refused}");
        }
        for taken in ["a*?", "a??", "a{2}?", "(a*)*"] {
            assert!(translate(taken).is_ok(), "{taken}");
        }
    }

    #[test]
    fn a_class_has_no_operators() {
        assert!(matches("[a[b]", "["));
        assert!(matches("[a&&b]", "&"));
        assert!(matches("[a&&b]", "a"));
        assert!(matches("[]a]", "]"));
        assert!(matches("[[:alpha:]]+", "ab"));
        assert!(matches("[a~~b]", "~"));
        assert!(matches("[+--]", ","));
    }

    #[test]
    fn flags_that_re2_does_not_know_are_refused() {
        for refused in ["(?x)a b", "(?u:a)", "(?R)a", "(?=a)", "(?!a)", "(?<=a)"] {
            let refused_here = translate(refused).is_err();
            assert!(refused_here || Regex::new(&translate(refused).unwrap()).is_err(), "{refused}");
        }
        assert!(matches("(?i)A-(?s-i:.)", "a-b"));
    }

    #[test]
    fn negated_names_and_escapes_are_turned() {
        assert!(matches(r"\p{^Greek}", "a"));
        assert!(!matches(r"\P{^Greek}", "a"));
        assert!(matches(r"\<\>", "<>"));
        assert!(matches(r"\101[\060-\62]\0", "A2\0"));
        assert!(translate(r"[[:foo:]]").is_err());
        assert!(translate(r"\u0041").is_err());
        assert!(translate("a\\").is_err());
        assert!(translate("a)").is_err());
    }
}
