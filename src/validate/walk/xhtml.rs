//! The markup of a narrative (R4 narrative.html): one `div` of balanced XHTML in which nothing can run.
//!
//! What passes must be harmless to an XML parser and to an HTML parser alike, since browsers read narratives as HTML:
//! so there are no CDATA sections, no comments that the two end at different places, and no unquoted attributes.

/// The elements of a narrative (R4 narrative.html: the formatting of HTML 4.0 chapters 7 to 11 and 15, links and images). In
/// order.
#[rustfmt::skip]
const ELEMENTS: &[&str] = &[
    "a", "abbr", "acronym", "address", "area", "b", "bdo", "big", "blockquote", "br", "caption", "cite", "code", "col",
    "colgroup", "dd", "del", "dfn", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins",
    "kbd", "li", "map", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "table",
    "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var",
];

/// Their attributes, in order: neither events nor anything of forms and frames.
#[rustfmt::skip]
const ATTRIBUTES: &[&str] = &[
    "abbr", "accesskey", "align", "alt", "axis", "border", "cellpadding", "cellspacing", "char", "charoff", "charset", "cite",
    "class", "colspan", "coords", "datetime", "dir", "frame", "headers", "height", "href", "hreflang", "hspace", "id",
    "idref", "ismap", "lang", "longdesc", "name", "nohref", "noshade", "nowrap", "rel", "rev", "rowspan", "rules", "scope",
    "shape", "size", "span", "src", "start", "style", "summary", "tabindex", "target", "title", "type", "usemap", "valign",
    "value", "vspace", "width", "xml:lang", "xmlns",
];

/// URL schemes that run what follows them.
const SCRIPT_SCHEMES: &[&str] = &["javascript", "vbscript"];

/// Elements may be nested this deep: far more than a narrative needs, far less than a browser survives.
const MAX_DEPTH: usize = 256;

/// How the div says that it is XHTML.
const NAMESPACES: [&str; 2] = [" xmlns=\"http://www.w3.org/1999/xhtml\"", " xmlns='http://www.w3.org/1999/xhtml'"];

/// True when there is neither text nor a picture in markup that passed [`check`] (txt-2).
pub(super) fn is_blank(text: &str) -> bool {
    let mut rest = text;
    while let Some((characters, markup)) = rest.split_once('<') {
        if !characters.trim().is_empty() || markup.starts_with("img") {
            return false;
        }
        rest = match markup.strip_prefix("!--") {
            Some(comment) => comment.split_once("-->").map_or("", |(_, rest)| rest),
            None => markup.split_once('>').map_or("", |(_, rest)| rest),
        };
    }
    true
}

/// Checks a narrative's `div`, or says what must not be in it. Linear in the length of the text.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let mut open: Vec<&str> = Vec::with_capacity(16);
    let mut rest = text.trim_ascii();
    if !rest.starts_with("<div") {
        return Err("it must start with <div");
    }
    let first_tag = rest.split('>').next().unwrap_or_default();
    if !NAMESPACES.iter().any(|namespace| first_tag.contains(namespace)) {
        return Err("its div must have xmlns=\"http://www.w3.org/1999/xhtml\"");
    }
    loop {
        let (characters, markup) = rest.find('<').map_or((rest, ""), |at| rest.split_at(at));
        references(characters)?;
        let Some(markup) = markup.strip_prefix('<') else { return Err("an element is not closed") };
        rest = match markup.as_bytes().first() {
            Some(b'/') => end_tag(markup, &mut open)?,
            Some(b'!') => comment(markup)?,
            _ => start_tag(markup, &mut open)?,
        };
        if open.is_empty() {
            return if rest.is_empty() { Ok(()) } else { Err("there must be nothing after the div") };
        }
    }
}

/// The text after `!-- comment -->`.
fn comment(markup: &str) -> Result<&str, &'static str> {
    let body = markup.strip_prefix("!--").ok_or("declarations and CDATA sections are not allowed")?;
    // HTML ends a comment at these, XML does not.
    if body.starts_with('>') || body.starts_with("->") {
        return Err("a comment must not start with > or ->");
    }
    let (_, end) = body.split_once("--").ok_or("a comment is not closed")?;
    end.strip_prefix('>').ok_or("a comment must not contain --")
}

/// The text after `/name>`, which must close the element that was opened last.
fn end_tag<'a>(markup: &'a str, open: &mut Vec<&'a str>) -> Result<&'a str, &'static str> {
    let (name, rest) = name(markup.strip_prefix('/').unwrap_or(markup));
    if open.pop() != Some(name) {
        return Err("an end tag does not match its start tag");
    }
    rest.trim_ascii_start().strip_prefix('>').ok_or("an end tag is not closed")
}

/// The text after `name attribute="value">`, or after `/>`, which leaves nothing open.
fn start_tag<'a>(markup: &'a str, open: &mut Vec<&'a str>) -> Result<&'a str, &'static str> {
    let (tag, mut rest) = name(markup);
    if tag.is_empty() {
        return Err("a < must start a tag");
    }
    if open.is_empty() && tag != "div" {
        return Err("it must start with <div");
    }
    if ELEMENTS.binary_search(&tag).is_err() {
        return Err(
            "an element is not one of basic formatting, in lower case: scripts, forms, frames and plug-ins are not",
        );
    }
    loop {
        let attribute = rest.trim_ascii_start();
        if let Some(rest) = attribute.strip_prefix('>') {
            if open.len() >= MAX_DEPTH {
                return Err("its elements are nested too deeply");
            }
            open.push(tag);
            return Ok(rest);
        }
        if let Some(rest) = attribute.strip_prefix("/>") {
            return Ok(rest);
        }
        if attribute.len() == rest.len() {
            return Err("white space must come before an attribute");
        }
        let (key, value) = name(attribute);
        if key.is_empty() {
            return Err("a tag is not well-formed");
        }
        if ATTRIBUTES.binary_search(&key).is_err() {
            return Err("an attribute is not one of basic formatting, in lower case: event handlers are not");
        }
        let quoted = value.trim_ascii_start().strip_prefix('=').map(str::trim_ascii_start).unwrap_or_default();
        let quote = if quoted.starts_with('\'') { '\'' } else { '"' };
        let parts = quoted.strip_prefix(quote).and_then(|value| value.split_once(quote));
        let (value, after) = parts.ok_or("an attribute has no value in quotes")?;
        attribute_value(value)?;
        rest = after;
    }
}

fn attribute_value(value: &str) -> Result<(), &'static str> {
    if value.contains('<') {
        return Err("an attribute must not contain <");
    }
    references(value)?;
    // Browsers ignore white space and control characters in a scheme, and read references before they look at it.
    let plain = !value.bytes().any(|byte| byte == b'&' || byte <= b' ');
    let runs = if plain { has_script_scheme(value) } else { has_script_scheme(&decoded(value)) };
    if runs { Err("script URLs are not allowed") } else { Ok(()) }
}

fn has_script_scheme(value: &str) -> bool {
    value.match_indices(':').any(|(at, _)| {
        let before = value.get(..at).unwrap_or_default().as_bytes();
        SCRIPT_SCHEMES.iter().any(|scheme| {
            let start = before.len().checked_sub(scheme.len()).and_then(|start| before.get(start..));
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        })
    })
}

/// An attribute value with its references read, and without white space and control characters.
fn decoded(value: &str) -> String {
    let mut parts = value.split('&');
    let mut text = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let (reference, rest) = part.split_once(';').unwrap_or((part, ""));
        text.extend(character(reference));
        text.push_str(rest);
    }
    text.retain(|character| character > ' ' && !character.is_control());
    text
}

/// The character of a reference, of those that matter to a scheme.
fn character(reference: &str) -> Option<char> {
    let Some(number) = reference.strip_prefix('#') else { return (reference == "colon").then_some(':') };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    code.ok().and_then(char::from_u32)
}

/// Each `&` must start a reference such as `&amp;`, `&#160;` or `&#xA0;`.
fn references(text: &str) -> Result<(), &'static str> {
    let is_reference = |part: &str| {
        let (reference, _) = part.split_once(';')?;
        let name = reference.strip_prefix('#').unwrap_or(reference);
        (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(())
    };
    let mut parts = text.split('&').skip(1);
    if parts.all(|part| is_reference(part).is_some()) { Ok(()) } else { Err("an & must start a reference like &amp;") }
}

/// The name of a tag or attribute at the start of the text, and what follows it.
fn name(text: &str) -> (&str, &str) {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.');
    let end = text.bytes().position(|byte| !is_name(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::{ATTRIBUTES, ELEMENTS, check, is_blank};

    fn div(body: &str) -> String {
        format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{body}</div>")
    }

    #[track_caller]
    fn accepts(body: &str) {
        assert_eq!(check(&div(body)), Ok(()), "{body}");
    }

    #[track_caller]
    fn refuses(text: &str) {
        assert!(check(text).is_err(), "{text}");
        assert!(check(&div(text)).is_err(), "in a div: {text}");
    }

    #[test]
    fn narratives_are_accepted() {
        accepts("");
        accepts("plain text, with javascript: and onclick=x in it, > and ]]> too");
        accepts("<p class=\"a\" id='b'>a<br/>b<br />c</p ><a name=\"x\"> </a>&amp;&#160;&#xA0;&nbsp;");
        accepts("<table><tr><td colspan=\"2\" style=\"color: red\">é</td></tr></table><img src=\"#logo\" alt=\"\"/>");
        accepts("<a href=\"http://example.org?a=1&amp;b=2\">x</a><!-- a comment with - and <p> -->");
        accepts("<a title=\"the one: script\">x</a><div><div>nested</div></div>");
        assert_eq!(check(&format!("  {}\n", div("a"))), Ok(()));
        assert_eq!(check("<div xmlns='http://www.w3.org/1999/xhtml'/>"), Ok(()));
    }

    #[test]
    fn the_lists_are_in_order() {
        assert!(ELEMENTS.is_sorted() && ATTRIBUTES.is_sorted());
    }

    #[test]
    fn blank_narratives_are_told_apart() {
        let check = |body: &str, expected| assert_eq!(is_blank(&div(body)), expected, "{body}");
        check("", true);
        check(" <p>\n</p><!-- > a --><br/>", true);
        check("<p> a</p>", false);
        check("<p><img src=\"#a\" alt=\"a\"/></p>", false);
    }

    #[test]
    fn scripts_are_refused() {
        refuses("<script>alert(1)</script>");
        refuses("<SCRIPT src=\"x\"/>");
        refuses("<foo>a</foo>");
        refuses("<p bar=\"1\">a</p>");
        refuses("<p onclick=\"x()\">a</p>");
        refuses("<img src=\"x\"\nOnError='x()'/>");
        refuses("<img src=\"x\"onerror=\"x()\"/>");
        refuses("<img/onerror=\"x()\"/>");
        refuses("<a href=\"javascript:x()\">a</a>");
        refuses("<a href=\" JavaScript:x()\">a</a>");
        refuses("<a href=\"java\tscript:x()\">a</a>");
        refuses("<a href=\"java&#115;cript:x()\">a</a>");
        refuses("<a href=\"java&#x73;cript&colon;x()\">a</a>");
        refuses("<a href=\"java&Tab;script:x()\">a</a>");
        refuses("<a href=\"vbscript:x\">a</a>");
        refuses("<p style=\"background: url(javascript:x())\">a</p>");
        refuses("<x:script xmlns:x=\"http://www.w3.org/1999/xhtml\">x()</x:script>");
        refuses("<noembed><!-- </noembed><img src=\"x\" onerror=\"x()\"/> --></noembed>");
        refuses("<iframe src=\"http://example.org\"></iframe>");
        refuses("<form action=\"http://example.org\"><p>a</p></form>");
        refuses("<![CDATA[><img src=x onerror=x()>]]>");
        refuses("<!--><img src=\"x\" onerror=\"x()\"/>-->");
        refuses("<!-- --!><script>x()</script>-->");
    }

    #[test]
    fn broken_markup_is_refused() {
        refuses("<p>a");
        refuses("<p>a</b>");
        refuses("a</p>");
        refuses("<p>a</p></div><div>b");
        refuses("<p a>b</p>");
        refuses("<p a=b>b</p>");
        refuses("<p a=\"b>b</p>");
        refuses("<p a=\"<\">b</p>");
        refuses("a & b");
        refuses("1 < 2");
        refuses("<!DOCTYPE html>");
        refuses("<?xml version=\"1.0\"?>");
        refuses("<!-- open");
        refuses(&"<b>".repeat(300));
        for text in ["", "div", "<divx></divx>", "<div", "<div>", "<div></div><div></div>", "<div></div>x", "</div>"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
