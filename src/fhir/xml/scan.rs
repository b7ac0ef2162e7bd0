//! Text to tokens: XML's grammar as far as FHIR needs it, and no FHIR.

use super::MAX_ATTRIBUTES;
use super::characters::{clip, is_space};

/// What stands between two angle brackets, or between tags.
pub(super) enum Token<'a> {
    Start(Tag<'a>),
    End(&'a str),
    Text(&'a str),
    Comment(&'a str),
    Instruction,
    Eof,
}

/// A start tag. Attribute values are as written.
pub(super) struct Tag<'a> {
    /// With its prefix.
    pub(super) name: &'a str,
    pub(super) attributes: Vec<(&'a str, &'a str)>,
    /// Everything after the name as written, without the brackets.
    pub(super) rest: &'a str,
    pub(super) empty: bool,
}

/// Why reading stopped: the sentence without its end, and the element if the fault is in one.
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) expression: Option<String>,
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Self { message: message.to_owned(), expression: None }
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, expression: None }
    }
}

pub(super) type Read<T> = Result<T, Fault>;

/// Pulls tokens from a text. Knows XML's grammar as far as FHIR needs it, and no FHIR.
pub(super) struct Scanner<'a> {
    pub(super) text: &'a str,
    pub(super) rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// The next `len` bytes, consumed. `len` always comes from a search in `rest`, so it is a character boundary.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// What stands before `end`; both are consumed.
    fn take_until(&mut self, end: &str, what: &str) -> Read<&'a str> {
        let (taken, rest) = self.rest.split_once(end).ok_or_else(|| format!("{what} is not closed"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn eat(&mut self, expected: &str) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) -> bool {
        let trimmed = self.rest.trim_start_matches(is_space);
        let skipped = trimmed.len() < self.rest.len();
        self.rest = trimmed;
        skipped
    }

    /// The XML declaration, if there is one: version 1.0, UTF-8.
    pub(super) fn declaration(&mut self) -> Read<()> {
        if !self.rest.strip_prefix("<?xml").is_some_and(|rest| rest.starts_with(is_space)) {
            return Ok(());
        }
        self.eat("<?xml");
        let inside = self.take_until("?>", "the XML declaration")?;
        let mut declared = Scanner { text: inside, rest: inside };
        while declared.skip_space() && !declared.rest.is_empty() {
            let (name, value) = declared.attribute()?;
            match name {
                "version" if value != "1.0" => return Err("only XML 1.0 is read".into()),
                "encoding" if !value.eq_ignore_ascii_case("utf-8") => {
                    return Err("only the encoding UTF-8 is read".into());
                }
                "version" | "encoding" | "standalone" => {}
                _ => return Err("the XML declaration is malformed".into()),
            }
        }
        if declared.rest.is_empty() { Ok(()) } else { Err("the XML declaration is malformed".into()) }
    }

    pub(super) fn next(&mut self) -> Read<Token<'a>> {
        if self.rest.is_empty() {
            return Ok(Token::Eof);
        }
        if !self.rest.starts_with('<') {
            let len = self.rest.find('<').unwrap_or(self.rest.len());
            return Ok(Token::Text(self.take(len)));
        }
        if self.eat("<!--") {
            let comment = self.take_until("-->", "a comment")?;
            if comment.contains("--") || comment.ends_with('-') {
                return Err("a comment contains '--'".into());
            }
            return Ok(Token::Comment(comment));
        }
        if self.rest.starts_with("<![CDATA[") {
            return Err("CDATA sections are not allowed in FHIR XML".into());
        }
        if self.rest.starts_with("<!") {
            return Err("document types and entity declarations are not allowed".into());
        }
        if self.eat("<?") {
            let instruction = self.take_until("?>", "a processing instruction")?;
            let target = instruction.split(is_space).next().unwrap_or_default();
            if target.eq_ignore_ascii_case("xml") {
                return Err("the XML declaration must come first".into());
            }
            return Ok(Token::Instruction);
        }
        if self.eat("</") {
            let name = self.name()?;
            self.skip_space();
            return if self.eat(">") { Ok(Token::End(name)) } else { Err("an end tag is malformed".into()) };
        }
        self.eat("<");
        self.start_tag().map(Token::Start)
    }

    fn start_tag(&mut self) -> Read<Tag<'a>> {
        let name = self.name()?;
        let after_name = self.rest;
        let mut attributes: Vec<(&str, &str)> = Vec::new();
        loop {
            let spaced = self.skip_space();
            let before_end = after_name.len() - self.rest.len();
            let empty = self.eat("/");
            if self.eat(">") {
                // The slash stays in `rest`: a narrative is written back as it was.
                let rest = after_name.get(..before_end + usize::from(empty)).unwrap_or_default();
                return Ok(Tag { name, attributes, rest, empty });
            }
            if empty || !spaced {
                return Err(format!("the tag of '{}' is malformed", clip(name)).into());
            }
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(format!("'{}' has more than {MAX_ATTRIBUTES} attributes", clip(name)).into());
            }
            let (key, value) = self.attribute()?;
            if attributes.iter().any(|(other, _)| *other == key) {
                return Err(format!("'{}' has the attribute '{}' twice", clip(name), clip(key)).into());
            }
            attributes.push((key, value));
        }
    }

    fn attribute(&mut self) -> Read<(&'a str, &'a str)> {
        let name = self.name()?;
        self.skip_space();
        if !self.eat("=") {
            return Err(format!("the attribute '{}' has no value", clip(name)).into());
        }
        self.skip_space();
        let value = if self.eat("\"") {
            self.take_until("\"", "an attribute value")?
        } else if self.eat("'") {
            self.take_until("'", "an attribute value")?
        } else {
            return Err(format!("the value of the attribute '{}' is not in quotes", clip(name)).into());
        };
        if value.contains('<') {
            return Err(format!("the value of the attribute '{}' contains '<'", clip(name)).into());
        }
        Ok((name, value))
    }

    /// A name with at most one prefix. ASCII only: neither FHIR nor XHTML has others.
    fn name(&mut self) -> Read<&'a str> {
        let len =
            self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-:".contains(c))).unwrap_or(self.rest.len());
        let name = self.take(len);
        let well_formed = name.split(':').all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'));
        if well_formed && name.matches(':').count() <= 1 { Ok(name) } else { Err("a name is malformed".into()) }
    }
}
