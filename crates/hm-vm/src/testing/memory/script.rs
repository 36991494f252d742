//! The subset of `sh` that the in-memory double understands: words, redirections, and what stands between
//! commands.

use std::collections::BTreeMap;

/// How a command is tied to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// `;` or a newline: run in any case.
    Then,
    /// `&&`: run when the one before passed.
    And,
    /// `||`: run when the one before failed.
    Or,
}

/// Where a command's standard output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Stdout,
    Stderr,
    File { path: String, append: bool },
}

/// One simple command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) link: Link,
    pub(super) words: Vec<String>,
    pub(super) target: Target,
}

/// Splits a script into its commands, expanding `$NAME` from `env`.
pub(super) fn parse(script: &str, env: &BTreeMap<String, String>) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut tokens: Vec<Token> = Vec::new();
    let mut link = Link::Then;
    for token in tokenize(script, env) {
        if let Token::Link(next) = token {
            commands.extend(command(link, std::mem::take(&mut tokens)));
            link = next;
        } else {
            tokens.push(token);
        }
    }
    commands.extend(command(link, tokens));
    commands
}

fn command(link: Link, tokens: Vec<Token>) -> Option<Command> {
    let mut words = Vec::new();
    let mut target = Target::Stdout;
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => words.push(word),
            Token::ToStderr => target = Target::Stderr,
            Token::ToFile { append } => {
                if let Some(Token::Word(path)) = tokens.next() {
                    target = Target::File { path, append };
                }
            }
            Token::Link(_) => {}
        }
    }
    (!words.is_empty()).then_some(Command { link, words, target })
}

#[derive(Debug)]
enum Token {
    Word(String),
    ToStderr,
    ToFile { append: bool },
    Link(Link),
}

fn tokenize(script: &str, env: &BTreeMap<String, String>) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = script.chars().peekable();
    while let Some(next) = chars.next() {
        let mut operator = None;
        match next {
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
            }
            '"' => {
                word.get_or_insert_default();
                while let Some(inner) = chars.next() {
                    match inner {
                        '"' => break,
                        '$' => word.get_or_insert_default().push_str(&variable(&mut chars, env)),
                        other => word.get_or_insert_default().push(other),
                    }
                }
            }
            '$' => word.get_or_insert_default().push_str(&variable(&mut chars, env)),
            ';' | '\n' => operator = Some(Token::Link(Link::Then)),
            '&' if chars.next_if_eq(&'&').is_some() => operator = Some(Token::Link(Link::And)),
            '|' if chars.next_if_eq(&'|').is_some() => operator = Some(Token::Link(Link::Or)),
            '>' if chars.next_if_eq(&'>').is_some() => operator = Some(Token::ToFile { append: true }),
            '>' if chars.next_if_eq(&'&').is_some() => {
                chars.next_if_eq(&'2');
                operator = Some(Token::ToStderr);
            }
            '>' => operator = Some(Token::ToFile { append: false }),
            space if space.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            other => word.get_or_insert_default().push(other),
        }
        if let Some(operator) = operator {
            tokens.extend(word.take().map(Token::Word));
            tokens.push(operator);
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

fn variable(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, env: &BTreeMap<String, String>) -> String {
    if chars.next_if_eq(&'$').is_some() {
        return "$$".into();
    }
    let mut name = String::new();
    while let Some(next) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(next);
    }
    env.get(&name).cloned().unwrap_or_default()
}
