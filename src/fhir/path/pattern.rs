//! Regular expressions for `matches()`, in time linear in the text: all states of the automaton advance together, so no
//! pattern can make a match explode.
//!
//! Covers what the constraints of FHIR profiles write: literals, classes, `.`, groups, alternatives, repetition and the
//! two anchors. As there is no capture, greedy and lazy are the same. Look-around, back-references and `\b` are refused.

use std::iter::Peekable;
use std::str::Chars;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    program: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    One(Class),
    /// Goes on at both places.
    Split(usize, usize),
    Start,
    End,
    Match,
}

/// A set of characters: the ranges, or all but them.
#[derive(Clone, Debug, Default)]
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Tree {
    One(Class),
    Start,
    End,
    Sequence(Vec<Tree>),
    Either(Vec<Tree>),
    Repeat(Box<Tree>, u32, Option<u32>),
}

const MAX_STEPS: usize = 4096;
const MAX_NESTING: usize = 32;
const MAX_REPEAT: u32 = 1024;

type Refused = &'static str;

impl Pattern {
    /// Compiles. The error is a verb phrase that says what is wrong with the pattern.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let mut parser = Parser { rest: text.chars().peekable(), nesting: 0 };
        let tree = parser.either()?;
        if parser.rest.next().is_some() {
            return Err("closes a group that it did not open");
        }
        let mut pattern = Self { program: Vec::new() };
        pattern.emit(&tree)?;
        pattern.push(Step::Match)?;
        Ok(pattern)
    }

    /// How much work a match is per character.
    pub(super) fn size(&self) -> usize {
        self.program.len()
    }

    /// True when the pattern matches somewhere in the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut states = States { list: Vec::new(), seen: vec![false; self.program.len()] };
        let mut current = Vec::new();
        let mut chars = text.chars();
        let mut at_start = true;
        loop {
            let next = chars.next();
            // A match may begin at any character.
            if self.follow(0, at_start, next.is_none(), &mut states) {
                return true;
            }
            let Some(c) = next else { return false };
            std::mem::swap(&mut current, &mut states.list);
            states.seen.fill(false);
            at_start = false;
            let ends = chars.as_str().is_empty();
            for state in current.drain(..) {
                let steps = matches!(self.program.get(state), Some(Step::One(class)) if class.has(c));
                if steps && self.follow(state + 1, false, ends, &mut states) {
                    return true;
                }
            }
        }
    }

    /// Adds the states that `from` leads to without a character; true when one of them is the match.
    fn follow(&self, from: usize, at_start: bool, at_end: bool, states: &mut States) -> bool {
        let mut pending = vec![from];
        while let Some(state) = pending.pop() {
            let Some(seen) = states.seen.get_mut(state) else { continue };
            if std::mem::replace(seen, true) {
                continue;
            }
            match self.program.get(state) {
                Some(Step::One(_)) => states.list.push(state),
                Some(Step::Split(one, other)) => pending.extend([*other, *one]),
                Some(Step::Start) if at_start => pending.push(state + 1),
                Some(Step::End) if at_end => pending.push(state + 1),
                Some(Step::Match) => return true,
                Some(Step::Start | Step::End) | None => {}
            }
        }
        false
    }

    fn push(&mut self, step: Step) -> Result<usize, Refused> {
        if self.program.len() >= MAX_STEPS {
            return Err("is too large");
        }
        self.program.push(step);
        Ok(self.program.len() - 1)
    }

    fn set(&mut self, at: usize, step: Step) {
        if let Some(slot) = self.program.get_mut(at) {
            *slot = step;
        }
    }

    fn emit(&mut self, tree: &Tree) -> Result<(), Refused> {
        match tree {
            Tree::One(class) => self.push(Step::One(class.clone())).map(drop),
            Tree::Start => self.push(Step::Start).map(drop),
            Tree::End => self.push(Step::End).map(drop),
            Tree::Sequence(parts) => parts.iter().try_for_each(|part| self.emit(part)),
            Tree::Either(parts) => {
                let Some((last, others)) = parts.split_last() else { return Ok(()) };
                let mut exits = Vec::new();
                for part in others {
                    let split = self.push(Step::Match)?;
                    self.emit(part)?;
                    exits.push(self.push(Step::Match)?);
                    self.set(split, Step::Split(split + 1, self.program.len()));
                }
                self.emit(last)?;
                let end = self.program.len();
                exits.into_iter().for_each(|exit| self.set(exit, Step::Split(end, end)));
                Ok(())
            }
            Tree::Repeat(part, least, most) => {
                for _ in 0..*least {
                    self.emit(part)?;
                }
                let Some(most) = most else {
                    let split = self.push(Step::Match)?;
                    self.emit(part)?;
                    self.push(Step::Split(split, split))?;
                    self.set(split, Step::Split(split + 1, self.program.len()));
                    return Ok(());
                };
                for _ in *least..*most {
                    let split = self.push(Step::Match)?;
                    self.emit(part)?;
                    self.set(split, Step::Split(split + 1, self.program.len()));
                }
                Ok(())
            }
        }
    }
}

struct States {
    list: Vec<usize>,
    seen: Vec<bool>,
}

impl Class {
    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }

    fn of(ranges: &[(char, char)], negated: bool) -> Self {
        Self { ranges: ranges.to_vec(), negated }
    }

    fn one(c: char) -> Self {
        Self::of(&[(c, c)], false)
    }
}

struct Parser<'s> {
    rest: Peekable<Chars<'s>>,
    nesting: usize,
}

impl Parser<'_> {
    fn either(&mut self) -> Result<Tree, Refused> {
        let mut parts = vec![self.sequence()?];
        while self.rest.next_if_eq(&'|').is_some() {
            parts.push(self.sequence()?);
        }
        Ok(Tree::Either(parts))
    }

    fn sequence(&mut self) -> Result<Tree, Refused> {
        let mut parts = Vec::new();
        while let Some(c) = self.rest.next_if(|c| !matches!(c, '|' | ')')) {
            let part = match c {
                '(' => self.group()?,
                '[' => Tree::One(self.class()?),
                '.' => Tree::One(Class::of(&[], true)),
                '^' => Tree::Start,
                '$' => Tree::End,
                '\\' => Tree::One(self.escape()?),
                '*' | '+' | '?' => return Err("repeats nothing"),
                plain => Tree::One(Class::one(plain)),
            };
            parts.push(self.repeated(part)?);
        }
        Ok(Tree::Sequence(parts))
    }

    fn group(&mut self) -> Result<Tree, Refused> {
        if self.rest.next_if_eq(&'?').is_some() && self.rest.next_if_eq(&':').is_none() {
            return Err("has a group of a kind that is not supported");
        }
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err("is nested too deeply");
        }
        let tree = self.either()?;
        self.nesting -= 1;
        self.rest.next_if_eq(&')').map(|_| tree).ok_or("has a group without an end")
    }

    fn repeated(&mut self, part: Tree) -> Result<Tree, Refused> {
        let (least, most) = match self.rest.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.rest.next();
                self.counts()?
            }
            _ => return Ok(part),
        };
        // The sign itself, or the brace that `counts` stopped at.
        self.rest.next();
        self.rest.next_if_eq(&'?');
        if self.rest.peek().is_some_and(|c| matches!(c, '*' | '+' | '{')) {
            return Err("repeats a repetition");
        }
        Ok(Tree::Repeat(Box::new(part), least, most))
    }

    /// `n}`, `n,}` or `n,m}`, up to its closing brace.
    fn counts(&mut self) -> Result<(u32, Option<u32>), Refused> {
        let least = self.count().ok_or("has a repetition that is no number")?;
        let most = match self.rest.next_if_eq(&',') {
            Some(_) => self.count(),
            None => Some(least),
        };
        if self.rest.peek() != Some(&'}') {
            return Err("has a repetition without an end");
        }
        if least.max(most.unwrap_or(least)) > MAX_REPEAT || most.is_some_and(|most| most < least) {
            return Err("has a repetition out of range");
        }
        Ok((least, most))
    }

    fn count(&mut self) -> Option<u32> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits.parse().ok()
    }

    fn escape(&mut self) -> Result<Class, Refused> {
        const WORD: [(char, char); 4] = [('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')];
        const SPACE: [(char, char); 2] = [('\t', '\r'), (' ', ' ')];
        match self.rest.next() {
            Some(c @ ('d' | 'D')) => Ok(Class::of(&[('0', '9')], c == 'D')),
            Some(c @ ('w' | 'W')) => Ok(Class::of(&WORD, c == 'W')),
            Some(c @ ('s' | 'S')) => Ok(Class::of(&SPACE, c == 'S')),
            Some('n') => Ok(Class::one('\n')),
            Some('r') => Ok(Class::one('\r')),
            Some('t') => Ok(Class::one('\t')),
            Some(c) if !c.is_ascii_alphanumeric() => Ok(Class::one(c)),
            _ => Err("has an escape that is not supported"),
        }
    }

    /// What follows a `[`.
    fn class(&mut self) -> Result<Class, Refused> {
        const OPEN: Refused = "has a class without an end";
        let mut class = Class { ranges: Vec::new(), negated: self.rest.next_if_eq(&'^').is_some() };
        loop {
            let low = match self.rest.next().ok_or(OPEN)? {
                ']' => return Ok(class),
                '\\' => {
                    let escape = self.escape()?;
                    match escape.ranges.as_slice() {
                        [(low, high)] if low == high && !escape.negated => *low,
                        _ if escape.negated => return Err("has a negated class in a class"),
                        ranges => {
                            class.ranges.extend_from_slice(ranges);
                            continue;
                        }
                    }
                }
                '[' => return Err("has a class in a class"),
                plain => plain,
            };
            let mut ahead = self.rest.clone();
            let high = match (ahead.next(), ahead.next()) {
                (Some('-'), Some(high)) if high != ']' => {
                    self.rest.next();
                    match self.rest.next() {
                        Some('\\') => match self.escape()?.ranges.as_slice() {
                            [(only, same)] if only == same => *only,
                            _ => return Err("has a range without an end"),
                        },
                        _ => high,
                    }
                }
                _ => low,
            };
            class.ranges.push((low, high));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let compiled = Pattern::parse(pattern).unwrap();
            yes.iter().for_each(|text| assert!(compiled.matches(text), "{pattern} on {text}"));
            no.iter().for_each(|text| assert!(!compiled.matches(text), "{pattern} on {text}"));
        };
        check("^[0-9]{10}$", &["1234567893"], &["123456789", "12345678901", "123456789x"]);
        check("^[0-9]{2}D[0-9]{7}$", &["12D1234567"], &["12E1234567"]);
        check("a|b(c|d)+$", &["xa", "bcd", "bd"], &["b", "bc "]);
        check("^(?:ab)?c{2,3}$", &["cc", "abccc"], &["c", "abc", "cccc"]);
        check(r"^\d+\.\d*-[\w.-]+$", &["1.-a", "12.5-x.y-z"], &["12-x", "1.5-"]);
        check("^[^a-c]*$", &["", "xyz"], &["xa"]);
        check("(a*)*$", &["", "aaab"], &[]);
        check("^.$", &["é"], &["ab", ""]);
        let hard = Pattern::parse("^(a+)+$").unwrap();
        assert!(!hard.matches(&format!("{}b", "a".repeat(5000))));
        for bad in ["(", ")", "[a", "*", r"\b", "(?=a)", "a{2,1}", "a{9999}", "a**", "((a{1000}){1000})"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
