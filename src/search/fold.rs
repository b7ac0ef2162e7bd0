//! Folding: what is left of a string when case, accents, punctuation and runs of white space do not count
//! (R4 search.html#string).

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The most characters of a string that are indexed; longer values are found by their beginning.
pub const INDEXED_CHARS_MAX: usize = 200;

/// Lower case, no combining marks, letters such as `ß` spelled out, no apostrophes or full stops; every other run of punctuation and white space is one
/// space. `O'Brien-Núñez` folds to `obrien nunez`.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut gap = false;
    let mut push = |c: char| {
        if c.is_alphanumeric() {
            if gap && !folded.is_empty() {
                folded.push(' ');
            }
            gap = false;
            match spelled_out(c) {
                Some(letters) => folded.push_str(letters),
                None => folded.extend(c.to_lowercase()),
            }
        } else if !matches!(c, '\'' | '’' | '.' | '`') {
            gap = true;
        }
    };
    if text.is_ascii() {
        text.chars().take(INDEXED_CHARS_MAX).for_each(&mut push);
    } else {
        text.nfkd().filter(|c| !is_combining_mark(*c)).take(INDEXED_CHARS_MAX).for_each(&mut push);
    }
    folded
}

/// Letters that no decomposition takes apart, in the letters that people write for them.
fn spelled_out(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'đ' | 'Đ' | 'ð' | 'Ð' => "d",
        'ł' | 'Ł' => "l",
        'þ' | 'Þ' => "th",
        'ı' => "i",
        _ => return None,
    })
}

/// The original as it is kept for `:exact`: the same bound, nothing else changed.
pub fn exact(text: &str) -> String {
    text.chars().take(INDEXED_CHARS_MAX).collect()
}

/// American Soundex of each word (National Archives rules): what `phonetic` compares.
pub fn sound(text: &str) -> String {
    fold(text).split(' ').map(soundex).collect::<Vec<_>>().join(" ")
}

fn soundex(word: &str) -> String {
    let digit = |c: char| match c {
        'b' | 'f' | 'p' | 'v' => Some('1'),
        'c' | 'g' | 'j' | 'k' | 'q' | 's' | 'x' | 'z' => Some('2'),
        'd' | 't' => Some('3'),
        'l' => Some('4'),
        'm' | 'n' => Some('5'),
        'r' => Some('6'),
        _ => None,
    };
    let mut letters = word.chars();
    let Some(first) = letters.next() else { return String::new() };
    let mut code = String::from(first);
    let mut last = digit(first);
    for letter in letters {
        let next = digit(letter);
        if let Some(digit) = next
            && next != last
        {
            code.push(digit);
        }
        // Two letters of one code are one sound across h and w, but two across a vowel.
        if !matches!(letter, 'h' | 'w') {
            last = next;
        }
        if code.len() >= 4 {
            break;
        }
    }
    while code.len() < 4 {
        code.push('0');
    }
    code
}

/// A telephone number without its punctuation; anything that is not one stays as it is.
pub fn phone(text: &str) -> String {
    let is_number = text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b' ' | b'(' | b')' | b'-' | b'.' | b'+' | b'/'));
    if is_number { text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect() } else { text.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_ignores_case_marks_and_punctuation() {
        for (text, folded) in [
            ("O'Brien-Núñez", "obrien nunez"),
            ("  St.  Louis ", "st louis"),
            ("ÅNGSTRÖM", "angstrom"),
            ("A\u{301}b", "ab"),
            ("GROẞMANN-Łódź", "grossmann lodz"),
            ("Sørensen & Æbelø", "sorensen aebelo"),
            ("李 小龍", "李 小龍"),
            ("--", ""),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn soundex_follows_the_national_archives() {
        for (name, code) in [
            ("Robert", "r163"),
            ("Rupert", "r163"),
            ("Ashcraft", "a261"),
            ("Tymczak", "t522"),
            ("Pfister", "p236"),
            ("Lee", "l000"),
        ] {
            assert_eq!(sound(name), code, "{name}");
        }
    }

    #[test]
    fn telephone_numbers_lose_their_punctuation() {
        assert_eq!(phone("(617) 555-0101"), "6175550101");
        assert_eq!(phone("Help@Example.org"), "help@example.org");
    }
}
