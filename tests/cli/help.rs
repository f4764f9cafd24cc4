//! The first screen, and what every command's help must have.

use clap::CommandFactory as _;
use ketcd::cli::Cli;

use crate::program::{assert_snapshot, run};

#[test]
fn the_first_screen_fits_80_columns_and_24_lines_and_names_every_command() {
    let help = run(&["--help"]).ok();
    assert_snapshot("help.txt", &help.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    assert!(help.lines().count() <= 24, "{} lines", help.lines().count());
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line:?} has {} columns", line.chars().count());
    }
    for command in Cli::command().get_subcommands() {
        let named = help.lines().any(|line| line.trim_start().starts_with(command.get_name()));
        assert!(named, "{} is not on the first screen", command.get_name());
    }
}

#[test]
fn without_a_command_the_first_screen_comes_on_stderr_with_the_code_for_usage() {
    let ended = run(&[]);
    assert_eq!(ended.code, 2);
    assert!(ended.stdout.is_empty());
    assert!(ended.stderr.contains("Run a broker"), "{}", ended.stderr);
}

#[test]
fn every_command_has_examples_that_it_understands() {
    let mut leaves = Vec::new();
    collect(&Cli::command(), "ketcd", &mut leaves);
    assert!(leaves.len() >= 15, "{leaves:?}");
    for (path, after_help) in leaves {
        let examples: Vec<&str> =
            after_help.lines().map(str::trim).filter(|line| line.starts_with("ketcd ")).collect();
        // Examples that are pipes begin with the other program.
        let piped = after_help.lines().filter(|line| line.contains("| ketcd ")).count();
        assert!((2..=4).contains(&(examples.len() + piped)), "{path}: {} examples", examples.len() + piped);
        for example in examples {
            let parsed_words = words(&example.replace("$(pidof ketcd)", "1"));
            let parsed = Cli::command().try_get_matches_from(parsed_words);
            assert!(parsed.is_ok(), "{path}: {example}: {}", parsed.unwrap_err());
        }
    }
}

/// The words of an example as a shell cuts them: up to a pipe, a redirection, `&&`, or the three blanks before a remark.
fn words(example: &str) -> Vec<String> {
    let command = example.split("   ").next().unwrap();
    let mut words = vec![String::new()];
    let mut quoted = false;
    for char in command.chars() {
        match char {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.into_iter().take_while(|word| !["|", "<", ">", "&&"].contains(&word.as_str())).collect()
}

/// The commands that have no commands below them, and those that also do something by themselves.
fn collect(command: &clap::Command, path: &str, leaves: &mut Vec<(String, String)>) {
    let after_help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if !command.is_subcommand_required_set() {
        leaves.push((path.to_owned(), after_help));
    }
    for below in command.get_subcommands() {
        collect(below, &format!("{path} {}", below.get_name()), leaves);
    }
}

#[test]
fn every_option_has_a_help_text_and_network_commands_show_default_and_variable() {
    fn walk(command: &clap::Command, path: &str) {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{path} {argument} has no help");
        }
        for below in command.get_subcommands() {
            walk(below, &format!("{path} {}", below.get_name()));
        }
    }
    walk(&Cli::command(), "ketcd");
    let help = run(&["topic", "list", "--help"]).ok();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("[env: KETCD_BROKERS=]") && help.contains("[default: localhost:9092]"), "{help}");
}

#[test]
fn the_help_of_commands_is_as_it_was() {
    for (name, args) in [
        ("help-dev.txt", &["dev", "--help"][..]),
        ("help-broker.txt", &["broker", "--help"]),
        ("help-topic.txt", &["topic", "--help"]),
        ("help-topic-produce.txt", &["topic", "produce", "--help"]),
        ("help-topic-consume.txt", &["topic", "consume", "--help"]),
        ("help-perf-produce.txt", &["perf", "produce", "--help"]),
    ] {
        assert_snapshot(name, &run(args).ok());
    }
}

#[test]
fn the_version_comes_as_text_and_as_json() {
    let text = run(&["version"]).ok();
    assert!(text.starts_with(concat!("ketcd ", env!("CARGO_PKG_VERSION"))), "{text}");
    let json = run(&["version", "--json"]).json();
    assert_eq!(json.get("version").unwrap(), env!("CARGO_PKG_VERSION"));
    assert_eq!(json.get("name").unwrap(), "ketcd");
}
