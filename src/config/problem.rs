//! What is wrong with a configuration: every problem with its key, its place and its cure.

use std::fmt;

use super::origin::Origin;

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// ketcd does not start.
    Error,
    /// Probably not what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Key, value and what is wrong with it, in one line.
    pub headline: String,
    /// Where it was written.
    pub place: Option<Origin>,
    /// What follows from it.
    pub details: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
}

impl Problem {
    pub(super) fn error(headline: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            headline: headline.into(),
            place: None,
            details: Vec::new(),
            help: Vec::new(),
        }
    }

    pub(super) fn warning(headline: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(headline) }
    }

    pub(super) fn at(mut self, place: &Origin) -> Self {
        self.place = Some(place.clone());
        self
    }

    pub(super) fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    pub(super) fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }

    /// "did you mean", where a known name is near.
    pub(super) fn did_you_mean(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.help(format!("did you mean {name}?")),
            None => self.help("`ketcd config list` shows every key"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}: {}", self.headline)?;
        if let Some(place) = &self.place {
            write!(f, "\n  --> {}", place.place())?;
        }
        for line in &self.details {
            write!(f, "\n  {line}")?;
        }
        for (number, line) in self.help.iter().enumerate() {
            write!(f, "\n{} {line}", if number == 0 { "help:" } else { "     " })?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration: at least one error, and the warnings found on the way. The caller exits with 78
/// (EX_CONFIG).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// In the order of the sources; errors and warnings mixed.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        write!(f, "{errors} configuration error{}", if errors == 1 { "" } else { "s" })
    }
}
