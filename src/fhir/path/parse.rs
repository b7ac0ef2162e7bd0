//! The grammar of FHIRPath, by precedence climbing (FHIRPath 2.0 section 6.8 for precedence).

use std::sync::Arc;

use super::PathError;
use super::ast::{Expr, Member, Operator, Plain, Step, Unary};
use super::lex::{Token, tokens};
use super::node::Item;
use super::pattern::Pattern;

/// Bounds on an expression, which bound the recursion over it.
const MAX_LENGTH: usize = 16 * 1024;
const MAX_NESTING: usize = 48;
const MAX_OPERATORS: usize = 256;

/// Parses a whole expression.
pub(super) fn parse(source: &str) -> Result<Expr, PathError> {
    if source.len() > MAX_LENGTH {
        return Err(PathError::new(MAX_LENGTH, format!("it exceeds {MAX_LENGTH} bytes")));
    }
    let mut parser = Parser { tokens: tokens(source)?, at: 0, nesting: 0, operators: 0 };
    let expr = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("the end of the expression")),
    }
}

/// What stands between two operands.
enum Infix {
    Binary(Operator),
    Union,
    Is,
    As,
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    nesting: usize,
    operators: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn position(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |(position, _)| *position)
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), PathError> {
        if self.accept(symbol) { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    fn unexpected(&self, wanted: &str) -> PathError {
        PathError::new(self.position(), format!("{wanted} is expected"))
    }

    fn name(&mut self) -> Result<Arc<str>, PathError> {
        let Token::Name { text, .. } = self.peek() else { return Err(self.unexpected("a name")) };
        let text = text.clone();
        self.at += 1;
        Ok(text)
    }

    /// `Period`, `FHIR.Period` or `System.String`, without the namespace.
    fn type_name(&mut self) -> Result<Box<str>, PathError> {
        let first = self.name()?;
        let name = if matches!(&*first, "FHIR" | "System") && self.accept(".") { self.name()? } else { first };
        Ok((&*name).into())
    }

    fn infix(&self) -> Option<(u8, Infix)> {
        use Operator::*;
        let binary = |level, operator| Some((level, Infix::Binary(operator)));
        match self.peek() {
            Token::Name { text, delimited: false } => match &**text {
                "implies" => binary(1, Implies),
                "or" => binary(2, Or),
                "xor" => binary(2, Xor),
                "and" => binary(3, And),
                "in" => binary(4, In),
                "contains" => binary(4, Contains),
                "is" => Some((8, Infix::Is)),
                "as" => Some((8, Infix::As)),
                "div" => binary(10, WholeDivide),
                "mod" => binary(10, Remainder),
                _ => None,
            },
            Token::Symbol(symbol) => match *symbol {
                "=" => binary(5, Equal),
                "!=" => binary(5, NotEqual),
                "~" => binary(5, Equivalent),
                "!~" => binary(5, NotEquivalent),
                "<" => binary(6, Less),
                "<=" => binary(6, LessOrEqual),
                ">" => binary(6, Greater),
                ">=" => binary(6, GreaterOrEqual),
                "|" => Some((7, Infix::Union)),
                "+" => binary(9, Add),
                "-" => binary(9, Subtract),
                "&" => binary(9, Concatenate),
                "*" => binary(10, Multiply),
                "/" => binary(10, Divide),
                _ => None,
            },
            _ => None,
        }
    }

    /// An expression of operators that bind at least as strongly as `least`.
    fn expression(&mut self, least: u8) -> Result<Expr, PathError> {
        let mut left = self.polarity()?;
        while let Some((level, infix)) = self.infix().filter(|(level, _)| *level >= least) {
            let position = self.position();
            self.at += 1;
            left = match infix {
                Infix::Is => chain(left, Step::Is(self.type_name()?)),
                Infix::As => chain(left, Step::OfType(self.type_name()?)),
                Infix::Union => {
                    // One flat union, for search parameters that span dozens of types.
                    let right = self.expression(level + 1)?;
                    match left {
                        Expr::Union(mut parts) => {
                            parts.push(right);
                            Expr::Union(parts)
                        }
                        left => Expr::Union(vec![left, right]),
                    }
                }
                Infix::Binary(operator) => {
                    self.operators += 1;
                    if self.operators > MAX_OPERATORS {
                        return Err(PathError::new(position, "there are too many operators"));
                    }
                    Expr::Binary(operator, Box::new((left, self.expression(level + 1)?)))
                }
            };
        }
        Ok(left)
    }

    fn polarity(&mut self) -> Result<Expr, PathError> {
        let mut negate = false;
        loop {
            if self.accept("-") {
                negate = !negate;
            } else if !self.accept("+") {
                break;
            }
        }
        let term = self.postfix()?;
        Ok(if negate { Expr::Negate(Box::new(term)) } else { term })
    }

    fn postfix(&mut self) -> Result<Expr, PathError> {
        let mut expr = self.term()?;
        loop {
            if self.accept(".") {
                let position = self.position();
                let name = self.name()?;
                expr = self.invocation(expr, &name, position)?;
            } else if self.accept("[") {
                let index = self.nested()?;
                self.expect("]")?;
                expr = chain(expr, Step::At(index));
            } else {
                return Ok(expr);
            }
        }
    }

    /// An expression inside brackets.
    fn nested(&mut self) -> Result<Expr, PathError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(PathError::new(self.position(), "it is nested too deeply"));
        }
        let expr = self.expression(0)?;
        self.nesting -= 1;
        Ok(expr)
    }

    fn term(&mut self) -> Result<Expr, PathError> {
        let position = self.position();
        let token = self.peek().clone();
        self.at += 1;
        match token {
            Token::Text(text) => Ok(Expr::Constant(Item::Text(text))),
            Token::Number(number) => Ok(Expr::Constant(Item::Number(number))),
            Token::Temporal(text) => Ok(Expr::Constant(Item::Temporal(text))),
            Token::Symbol("(") => {
                let inner = self.nested()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("{") => {
                self.expect("}")?;
                Ok(Expr::Empty)
            }
            Token::Special(name) => match &*name {
                "this" => Ok(Expr::This),
                "index" => Ok(Expr::Index),
                _ => Err(PathError::new(position, format!("'${name}' is not supported"))),
            },
            Token::Variable(name) => match &*name {
                "resource" => Ok(Expr::Resource),
                "rootResource" => Ok(Expr::RootResource),
                "context" => Ok(Expr::Context),
                "sct" => Ok(text("http://snomed.info/sct")),
                "loinc" => Ok(text("http://loinc.org")),
                "ucum" => Ok(text("http://unitsofmeasure.org")),
                _ => Err(PathError::new(position, format!("the variable '%{name}' is not supported"))),
            },
            Token::Name { text, delimited } => match &*text {
                "true" if !delimited => Ok(Expr::Constant(Item::Boolean(true))),
                "false" if !delimited => Ok(Expr::Constant(Item::Boolean(false))),
                // No FHIR element has a capital first letter, so such a name is the type of the focus.
                name if name.starts_with(|c: char| c.is_ascii_uppercase()) && !self.is("(") => {
                    Ok(chain(Expr::This, Step::Root(name.into())))
                }
                name => self.invocation(Expr::This, name, position),
            },
            Token::Symbol(_) | Token::End => {
                self.at -= 1;
                Err(self.unexpected("a path, a literal or '('"))
            }
        }
    }

    /// A member or, when `(` follows, a function call, applied to `base`.
    fn invocation(&mut self, base: Expr, name: &str, position: usize) -> Result<Expr, PathError> {
        if !self.accept("(") {
            return Ok(chain(base, Step::Member(Member::new(name))));
        }
        if matches!(name, "ofType" | "as" | "is") {
            let type_name = self.type_name()?;
            self.expect(")")?;
            return Ok(chain(base, if name == "is" { Step::Is(type_name) } else { Step::OfType(type_name) }));
        }
        let mut arguments = Vec::new();
        if !self.accept(")") {
            loop {
                arguments.push(self.nested()?);
                if !self.accept(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        call(base, name, arguments, position)
    }
}

fn text(text: &str) -> Expr {
    Expr::Constant(Item::Text(text.into()))
}

fn chain(base: Expr, step: Step) -> Expr {
    match base {
        Expr::Chain(base, mut steps) => {
            steps.push(step);
            Expr::Chain(base, steps)
        }
        base => Expr::Chain(Box::new(base), vec![step]),
    }
}

fn call(base: Expr, name: &str, arguments: Vec<Expr>, position: usize) -> Result<Expr, PathError> {
    let refuse = |message: String| Err(PathError::new(position, message));
    let count = arguments.len();
    let mut arguments = arguments.into_iter();
    let step = match (arguments.next(), arguments.next(), arguments.next(), arguments.next()) {
        (None, ..) => plain(name).map(Step::Plain),
        (Some(one), None, ..) => match name {
            "where" => Some(Step::Where(one)),
            "exists" => return Ok(chain(chain(base, Step::Where(one)), Step::Plain(Plain::Exists))),
            "select" => Some(Step::Select(one)),
            "repeat" => Some(Step::Repeat(one)),
            "all" => Some(Step::All(one)),
            "extension" => Some(Step::Extension(one)),
            "substring" => Some(Step::Substring(one, None)),
            "matches" => match &one {
                Expr::Constant(Item::Text(text)) => match Pattern::parse(text) {
                    Ok(pattern) => Some(Step::Matches(pattern)),
                    Err(reason) => return refuse(format!("the regular expression '{text}' {reason}")),
                },
                _ => return refuse("'matches()' is supported for a constant pattern only".into()),
            },
            "trace" => return Ok(base),
            _ => unary(name).map(|function| Step::Unary(function, one)),
        },
        (Some(one), Some(two), None, _) => match name {
            "substring" => Some(Step::Substring(one, Some(two))),
            "iif" => Some(Step::Choose(Box::new((one, two, Expr::Empty)))),
            "trace" => return Ok(base),
            _ => None,
        },
        (Some(one), Some(two), Some(three), None) if name == "iif" => Some(Step::Choose(Box::new((one, two, three)))),
        _ => None,
    };
    match step {
        Some(step) => Ok(chain(base, step)),
        None if known(name) => refuse(format!("'{name}()' does not take {count} arguments")),
        None => refuse(format!("the function '{name}()' is not supported")),
    }
}

fn known(name: &str) -> bool {
    let other = ["where", "select", "repeat", "all", "extension", "substring", "matches", "trace", "iif"];
    other.contains(&name) || plain(name).is_some() || unary(name).is_some()
}

fn plain(name: &str) -> Option<Plain> {
    Some(match name {
        "exists" => Plain::Exists,
        "empty" => Plain::Empty,
        "not" => Plain::Not,
        "count" => Plain::Count,
        "first" => Plain::First,
        "last" => Plain::Last,
        "tail" => Plain::Tail,
        "single" => Plain::Single,
        "allTrue" => Plain::AllTrue,
        "anyTrue" => Plain::AnyTrue,
        "allFalse" => Plain::AllFalse,
        "anyFalse" => Plain::AnyFalse,
        "resolve" => Plain::Resolve,
        "hasValue" => Plain::HasValue,
        "getValue" => Plain::GetValue,
        "children" => Plain::Children,
        "descendants" => Plain::Descendants,
        "distinct" => Plain::Distinct,
        "isDistinct" => Plain::IsDistinct,
        "length" => Plain::Length,
        "lower" => Plain::Lower,
        "upper" => Plain::Upper,
        "trim" => Plain::Trim,
        "toString" => Plain::ToText,
        "toInteger" => Plain::ToInteger,
        "toDecimal" => Plain::ToDecimal,
        _ => return None,
    })
}

fn unary(name: &str) -> Option<Unary> {
    Some(match name {
        "startsWith" => Unary::StartsWith,
        "endsWith" => Unary::EndsWith,
        "contains" => Unary::Contains,
        "indexOf" => Unary::IndexOf,
        "skip" => Unary::Skip,
        "take" => Unary::Take,
        "combine" => Unary::Combine,
        "union" => Unary::Union,
        "intersect" => Unary::Intersect,
        "exclude" => Unary::Exclude,
        "subsetOf" => Unary::SubsetOf,
        "supersetOf" => Unary::SupersetOf,
        _ => return None,
    })
}
