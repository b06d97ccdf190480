//! Phone numbers with spaces or parentheses, which are found by their digits.

/// The most bytes that are looked at.
const BYTES: usize = 32;

/// A phone number at the start of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Phone {
    /// All digits.
    pub(super) digits: String,
    /// How many of them are the country's; 0 if that is not said.
    pub(super) country: usize,
    /// The bytes that it takes.
    pub(super) bytes: usize,
}

impl Phone {
    /// The number at the start of `text`, if there is one: it begins with `+`, or with digits in
    /// parentheses.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = &text.as_bytes()[..text.len().min(BYTES)];
        let international = bytes.first() == Some(&b'+');
        let (mut digits, mut country, mut end) = (String::new(), 0, 0);
        let mut at = 1;
        while at < bytes.len() {
            let group = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            // A lone digit after a space is a number of its own, except for the country's.
            let lone = group == 1 && !digits.is_empty() && bytes[at - 1] == b' ';
            if group == 0 || lone {
                break;
            }
            digits.push_str(&text[at..at + group]);
            if international && country == 0 {
                country = digits.len();
            }
            at += group;
            end = at;
            at += separators(&bytes[at..]);
        }
        let letter = text[end..].chars().next().is_some_and(char::is_alphanumeric);
        let count = digits.len();
        let is_number = (7..=15).contains(&count) && count > country && !letter;
        is_number.then_some(Self { digits, country, bytes: end })
    }

    /// The digits as they are dialled in the country itself, if the country is said.
    pub(super) fn national(&self) -> Option<&str> {
        let national = &self.digits[self.country..];
        (self.country > 0 && national.len() >= 7).then_some(national)
    }
}

/// How many bytes separate two groups of digits: at most `) ` or ` (`.
fn separators(bytes: &[u8]) -> usize {
    let is_separator = |byte: &&u8| matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')');
    bytes.iter().take(2).take_while(is_separator).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_is_read_by_its_digits() {
        for (text, digits, national) in [
            ("+1 (555) 010-0199.", "15550100199", Some("5550100199")),
            ("(555) 010-0199", "5550100199", None),
            ("+44 20 7946 0958 is it", "442079460958", Some("2079460958")),
        ] {
            let phone = Phone::read(text).unwrap();
            assert_eq!((phone.digits.as_str(), phone.national()), (digits, national), "{text}");
        }
    }

    #[test]
    fn other_numbers_are_no_phone_numbers() {
        for text in
            ["+5", "(2019)", "+12 apples", "(see 1234567)", "+1 555x010", "+", "+4915550100199"]
        {
            assert_eq!(Phone::read(text), None, "{text}");
        }
        assert_eq!(Phone::read("+1 555 010 0199 2 items").unwrap().digits, "15550100199");
    }
}
