//! The tokens of FHIRPath (FHIRPath 2.0 section 3 and its grammar).

use std::sync::Arc;

use super::PathError;
use super::number::Decimal;
use super::temporal::Temporal;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `delimited` when in backticks, which keeps it from being a keyword.
    Name {
        text: Arc<str>,
        delimited: bool,
    },
    Text(Arc<str>),
    Number(Decimal),
    Temporal(Arc<str>),
    /// `$this` and its like, without the `$`.
    Special(Arc<str>),
    /// `%resource` and its like, without the `%`.
    Variable(Arc<str>),
    Symbol(&'static str),
    End,
}

/// Longer symbols come before their own beginnings.
const SYMBOLS: [&str; 22] =
    ["!=", "!~", "<=", ">=", "=", "~", "<", ">", ".", ",", "(", ")", "[", "]", "{", "}", "|", "&", "+", "-", "*", "/"];

/// All tokens with the byte each begins at; `End` comes last.
pub(super) fn tokens(source: &str) -> Result<Vec<(usize, Token)>, PathError> {
    let mut lexer = Lexer { source, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let token = lexer.next()?;
        let last = token == Token::End;
        found.push((start, token));
        if last {
            return Ok(found);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Takes the longest beginning whose characters all fit.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'s str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn skip_blanks(&mut self) -> Result<(), PathError> {
        loop {
            self.take(char::is_whitespace);
            let rest = self.rest();
            if rest.starts_with("//") {
                self.take(|c| c != '\n');
            } else if rest.starts_with("/*") {
                let Some(end) = rest.find("*/") else { return Err(PathError::new(self.at, "the comment has no end")) };
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Token, PathError> {
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(Token::End) };
        match first {
            '\'' => self.quoted('\'').map(Token::Text),
            '`' => self.quoted('`').map(|text| Token::Name { text, delimited: true }),
            '@' => {
                self.at += 1;
                let text = self.take(|c| c.is_ascii_digit() || matches!(c, 'T' | 'Z' | ':' | '.' | '+' | '-'));
                match Temporal::parse(text) {
                    Some(_) => Ok(Token::Temporal(text.into())),
                    None => Err(PathError::new(start, format!("'@{text}' is no date or time"))),
                }
            }
            '$' => {
                self.at += 1;
                Ok(Token::Special(self.take(is_name).into()))
            }
            '%' => {
                self.at += 1;
                match self.rest().chars().next() {
                    Some(quote @ ('`' | '\'')) => self.quoted(quote).map(Token::Variable),
                    _ => Ok(Token::Variable(self.take(is_name).into())),
                }
            }
            '0'..='9' => self.number(start),
            c if is_name(c) => Ok(Token::Name { text: self.take(is_name).into(), delimited: false }),
            other => match SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Ok(Token::Symbol(symbol))
                }
                None => Err(PathError::new(start, format!("'{other}' has no meaning here"))),
            },
        }
    }

    fn number(&mut self, start: usize) -> Result<Token, PathError> {
        self.take(|c| c.is_ascii_digit());
        // The point belongs to the number only when a digit follows: `1.toString()` is a call.
        if self.rest().strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            self.at += 1;
            self.take(|c| c.is_ascii_digit());
        }
        let text = self.source.get(start..self.at).unwrap_or_default();
        match Decimal::parse(text) {
            Some(number) => Ok(Token::Number(number)),
            None => Err(PathError::new(start, format!("the number '{text}' has too many digits"))),
        }
    }

    /// Text between quotes, with the escapes of FHIRPath 2.0 section 4.1.1.
    fn quoted(&mut self, quote: char) -> Result<Arc<str>, PathError> {
        let start = self.at;
        let mut text = String::new();
        let mut rest = self.rest().char_indices().skip(1);
        while let Some((n, c)) = rest.next() {
            if c == quote {
                self.at += n + 1;
                return Ok(text.into());
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            let escaped = match rest.next().map(|(_, c)| c) {
                Some('n') => Some('\n'),
                Some('r') => Some('\r'),
                Some('t') => Some('\t'),
                Some('f') => Some('\u{c}'),
                Some('u') => {
                    let hex: String = rest.by_ref().take(4).map(|(_, c)| c).collect();
                    u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32)
                }
                Some(plain @ ('\\' | '/' | '\'' | '"' | '`')) => Some(plain),
                _ => None,
            };
            match escaped {
                Some(c) => text.push(c),
                None => return Err(PathError::new(start + n, "the text holds an escape that FHIRPath does not have")),
            }
        }
        Err(PathError::new(start, "the text has no closing quote"))
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_comments() {
        let check = |source: &str, want: Option<&str>| {
            let got = tokens(source).ok().and_then(|found| match found.into_iter().next() {
                Some((_, Token::Text(text))) => Some(text.to_string()),
                _ => None,
            });
            assert_eq!(got.as_deref(), want, "{source}");
        };
        check(r"'a\'b\\\n\u00e9'", Some("a'b\\\né"));
        check("/* c */ 'x' // end", Some("x"));
        check(r"'\q'", None);
        check(r"'\ud800'", None);
        check("'open", None);
        check("/* open", None);
        check("#", None);
    }
}
