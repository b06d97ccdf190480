//! The kinds of personal data, and how each is recognised.
//!
//! Check digits are verified, so that an order number is not mistaken for a payment card.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::digits::{Number, Prefix, is_luhn};

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `name@domain.tld`, in any script.
    Email,
    /// An international bank account number with valid check digits.
    Iban,
    /// 13 to 19 digits whose last is a valid check digit.
    Card,
    /// A version 4 or 6 address.
    Ip,
    /// `+` or `00` and a number, a number with a leading zero in groups, or groups of three,
    /// three and four digits.
    Phone,
}

impl Kind {
    /// The replacement text.
    pub fn label(self) -> &'static str {
        match self {
            Self::Email => "[email]",
            Self::Iban => "[iban]",
            Self::Card => "[card]",
            Self::Ip => "[ip]",
            Self::Phone => "[phone]",
        }
    }

    /// The length in bytes of the item of this kind at the start of `text`, if there is one.
    pub(crate) fn length_at_start(self, text: &str) -> Option<usize> {
        match self {
            Self::Email => email(text),
            Self::Iban => iban(text),
            Self::Card => card(text),
            Self::Ip => ip(text),
            Self::Phone => phone(text),
        }
    }
}

/// The longest prefix of `text` whose characters all satisfy `among`, at most `most` bytes.
fn run(text: &str, most: usize, among: impl Fn(char) -> bool) -> &str {
    let mut letters = text.char_indices().filter(|(at, letter)| *at >= most || !among(*letter));
    &text[..letters.next().map_or(text.len(), |(at, _)| at)]
}

fn ends_word(text: &str) -> bool {
    !text.chars().next().is_some_and(char::is_alphanumeric)
}

fn email(text: &str) -> Option<usize> {
    const LOCAL_BYTES: usize = 64;
    const DOMAIN_BYTES: usize = 253;
    let local =
        run(text, LOCAL_BYTES, |letter| letter.is_alphanumeric() || "._%+'-".contains(letter));
    let after = text[local.len()..].strip_prefix('@').filter(|_| !local.is_empty())?;
    let domain =
        run(after, DOMAIN_BYTES, |letter| letter.is_alphanumeric() || ".-".contains(letter));
    let domain = domain.trim_end_matches(['.', '-']);
    let (name, top) = domain.rsplit_once('.')?;
    let is_top = top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
    let whole = !name.split('.').any(str::is_empty) && is_top;
    whole.then(|| local.len() + 1 + domain.len())
}

/// Lengths of IBANs by country, from the IBAN registry.
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 \
    CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 \
    IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 \
    MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 \
    SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20";

fn iban(text: &str) -> Option<usize> {
    let country = text.get(..2)?.to_ascii_uppercase();
    let mut lengths = IBAN_LENGTHS.split(' ').filter_map(|entry| entry.strip_prefix(&*country));
    let letters: usize = lengths.next()?.parse().ok()?;
    let mut number = Vec::with_capacity(letters);
    let mut length = 0;
    for (at, letter) in text.char_indices() {
        if number.len() == letters {
            break;
        }
        match letter {
            letter if letter.is_ascii_alphanumeric() => number.push(letter.to_ascii_uppercase()),
            ' ' | '-' => continue,
            _ => return None,
        }
        length = at + 1;
    }
    let whole = number.len() == letters && ends_word(&text[length..]);
    (whole && remainder_97(&number) == Some(1)).then_some(length)
}

/// The IBAN modulo 97, with its first four characters moved to the end and letters counted
/// as 10 to 35. It is 1 if the check digits are valid.
fn remainder_97(number: &[char]) -> Option<u32> {
    let rotated = number[4..].iter().chain(&number[..4]);
    rotated.map(|letter| letter.to_digit(36)).try_fold(0, |remainder, digit| {
        let digit = digit?;
        let shift = if digit < 10 { 10 } else { 100 };
        Some((remainder * shift + digit) % 97)
    })
}

fn card(text: &str) -> Option<usize> {
    // The first digit identifies the kind of issuer.
    if !text.starts_with(|letter| ('2'..='6').contains(&letter)) {
        return None;
    }
    let number = Number::at_start(text, 19, " -", 1);
    let is_card = |number: &Prefix<'_>| number.digits.len() >= 13 && is_luhn(number.digits);
    number.prefixes().find(is_card).map(|number| number.end)
}

fn ip(text: &str) -> Option<usize> {
    ipv4(text).or_else(|| ipv6(text))
}

fn ipv4(text: &str) -> Option<usize> {
    let address = run(text, 16, |letter| letter.is_ascii_digit() || letter == '.');
    let address = address.trim_end_matches('.');
    let whole = address.parse::<Ipv4Addr>().is_ok() && ends_word(&text[address.len()..]);
    whole.then_some(address.len())
}

fn ipv6(text: &str) -> Option<usize> {
    let address = run(text, 46, |letter| letter.is_ascii_hexdigit() || ":.".contains(letter));
    let address = address.trim_end_matches('.');
    // The last colon may belong to the sentence.
    let shorter = address.strip_suffix(':').unwrap_or(address);
    let mut wholes = [address, shorter].into_iter().filter(|address| {
        let is_long = address.contains(|letter: char| letter != ':');
        is_long && address.parse::<Ipv6Addr>().is_ok() && ends_word(&text[address.len()..])
    });
    wholes.next().map(str::len)
}

fn phone(text: &str) -> Option<usize> {
    let plus = usize::from(text.starts_with('+'));
    if !text[plus..].starts_with(|letter: char| letter.is_ascii_digit() || letter == '(') {
        return None;
    }
    let number = Number::at_start(&text[plus..], 17, " ()-./", 2);
    let is_phone = |number: &Prefix<'_>| is_international(number, plus > 0) || is_national(number);
    number.prefixes().find(is_phone).map(|number| plus + number.end)
}

/// An international number, after `+` or `00`. ITU-T E.164 allows 15 digits.
fn is_international(number: &Prefix<'_>, plus: bool) -> bool {
    let digits = match number.digits {
        digits if plus => digits,
        [0, 0, digits @ ..] => digits,
        _ => return false,
    };
    (8..=15).contains(&digits.len())
}

/// A national number: with a leading zero and in groups, of which the first is an area code
/// or all are pairs; or in the North American format.
fn is_national(number: &Prefix<'_>) -> bool {
    let mut groups = number.groups.iter().map(|group| group.digits);
    let leading_zero = number.digits.first() == Some(&0)
        && (9..=12).contains(&number.digits.len())
        && groups.len() > 1
        && (number.groups[0].digits > 2 || groups.all(|digits| digits == 2));
    leading_zero || number.groups.iter().map(|group| group.digits).eq([3, 3, 4])
}
