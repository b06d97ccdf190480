use kenning_extension::testing::Host;
use kenning_extension::{Draft, Metadata, OnStore};

use super::{KINDS, Kind, RedactPii, redact};

#[track_caller]
fn assert_redacted(text: &str, expected: &str) {
    let redacted = redact(text, KINDS);
    assert_eq!(redacted.text, expected, "from {text:?}");
    assert_eq!(redact(expected, KINDS).count, 0, "redacting again changes nothing: {expected:?}");
}

#[track_caller]
fn assert_kept(text: &str) {
    assert_redacted(text, text);
}

#[test]
fn email_addresses_are_redacted() {
    assert_redacted("Write to ada@example.com.", "Write to [email].");
    assert_redacted("<first.last+tag@mail.example.co.uk>, ok", "<[email]>, ok");
    assert_redacted("mailto:o'neil@example.org?subject=x", "mailto:[email]?subject=x");
    assert_redacted("用户@例子.公司 schreibt jörg@müller.de", "[email] schreibt [email]");
    for kept in ["@ada", "ada@", "ada@localhost", "a @ b.com", "x@1.2", "ada@example..com"] {
        assert_kept(kept);
    }
}

#[test]
fn ibans_with_valid_check_digits_are_redacted() {
    assert_redacted("Pay DE89 3704 0044 0532 0130 00 today", "Pay [iban] today");
    assert_redacted("gb82west12345698765432;", "[iban];");
    assert_redacted("NO93 8601 1117 947 and BE68539007547034", "[iban] and [iban]");
    for kept in [
        "DE88 3704 0044 0532 0130 00",
        "DE89 3704 0044",
        "ZZ82WEST12345698765432",
        "GB82WEST1234569876543277",
    ] {
        assert!(!redact(kept, KINDS).text.contains("[iban]"), "{kept}");
    }
}

#[test]
fn card_numbers_with_a_valid_check_digit_are_redacted() {
    assert_redacted("Card 4111 1111 1111 1111 exp 12/27", "Card [card] exp 12/27");
    assert_redacted("378282246310005 or 5555-5555-5555-4444.", "[card] or [card].");
    assert_redacted("4111111111111111 12/27", "[card] 12/27");
    for kept in ["4111 1111 1111 1112", "1700000000000", "41111111111111111111111", "4111-1111"] {
        assert_kept(kept);
    }
}

#[test]
fn ip_addresses_are_redacted() {
    assert_redacted("from 192.168.0.17:8080, not 10.0.0.1.", "from [ip]:8080, not [ip].");
    assert_redacted("2001:db8::ff00:42:8329 and ::1 and ::ffff:10.0.0.1", "[ip] and [ip] and [ip]");
    assert_redacted("the host fe80::1: is up", "the host [ip]: is up");
    for kept in ["1.2.3", "256.1.1.1", "10:30:45", "std::vec", " :: ", "v1.2.3.4"] {
        assert_kept(kept);
    }
}

#[test]
fn telephone_numbers_are_redacted() {
    for number in [
        "+49 30 1234567",
        "+49 (0)30 123-4567",
        "+1-555-123-4567",
        "+442079460958",
        "0044 20 7946 0958",
        "030 1234567",
        "0171/1234567",
        "(030) 123 45 67",
        "01 23 45 67 89",
        "(555) 123-4567",
        "555.123.4567",
    ] {
        assert_redacted(&format!("Call {number}, please"), "Call [phone], please");
    }
    for kept in [
        "2024-01-02 10:20:30",
        "01.02.2024 10:20",
        "2024-01-02T10:20:30+00:00",
        "+1",
        "0.123456789",
        "room 12-34-56",
        "1,234,567.89",
        "+49x",
        "order 1234567890",
    ] {
        assert_kept(kept);
    }
}

#[test]
fn only_the_requested_kinds_are_redacted() {
    let text = "ada@example.com at 10.0.0.1";
    assert_eq!(redact(text, &[Kind::Ip]).text, "ada@example.com at [ip]");
    assert_eq!(redact(text, &[]).text, text);
}

#[test]
fn a_draft_is_redacted_in_its_text_and_in_its_metadata() {
    let metadata = r#"{"from":"ada@example.com","n":1.10,"cc":[{"ip":"10.0.0.1"}]}"#;
    let metadata = Metadata::from_json(metadata).unwrap();
    let draft = Draft { metadata, ..Draft::new("Ada's phone is +49 30 1234567.").with_id("a") };
    let host = Host::new();
    let stored = host.run(|| RedactPii::on_store(draft)).unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].text, "Ada's phone is [phone].");
    assert_eq!(stored[0].id.as_deref(), Some("a"));
    let expected = r#"{"from":"[email]","n":1.10,"cc":[{"ip":"[ip]"}]}"#;
    assert_eq!(stored[0].metadata.as_str(), expected);
    assert_eq!(host.lines(), ["redacted 3 items of personal data in a fact"]);
}

#[test]
fn a_draft_without_personal_data_is_unchanged() {
    let draft = Draft::new("Tea is hot.").with("topic", "tea");
    let host = Host::new();
    assert_eq!(host.run(|| RedactPii::on_store(draft.clone())), Ok(vec![draft]));
    assert!(host.lines().is_empty());
}

#[test]
fn unusual_and_long_texts_are_processed() {
    for text in ["", "+", "(", "+(0", "@", "é@é.éé é", "DE", "9", "::", "日本 03-1234-5678 電話"]
    {
        let redacted = redact(text, KINDS);
        assert!(redacted.count <= 1, "{text:?}: {redacted:?}");
    }
    let long = "1 ".repeat(100_000) + &"a.".repeat(100_000);
    assert_eq!(redact(&long, KINDS).count, 0);
}
