//! Slots of a cluster: which one a key is in, and which node serves it.

use std::collections::HashSet;

use redis::{Arg, Cmd, Value};

use super::address::Place;

/// The number of slots of every cluster.
const SLOTS: u16 = 16_384;

/// The slot of the key that `command` names; `None` if it names none. All commands here name keys
/// of one slot.
pub(super) fn of_command(command: &Cmd) -> Option<u16> {
    let words: Vec<&[u8]> = command
        .args_iter()
        .filter_map(|arg| match arg {
            Arg::Simple(word) => Some(word),
            _ => None,
        })
        .collect();
    let key = match *words.first()? {
        b"EVALSHA" | b"EVAL" => words.get(3),
        b"XREAD" => {
            let before = words.iter().position(|word| *word == b"STREAMS")?;
            words.get(before + 1)
        }
        b"SCRIPT" | b"CONFIG" | b"INFO" | b"DBSIZE" | b"SCAN" | b"CLUSTER" => None,
        _ => words.get(1),
    };
    key.map(|key| of_key(key))
}

/// The slot of a key: of what is between its first braces, if that is not empty.
pub(super) fn of_key(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let after = &key[open + 1..];
        let close = after.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &after[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC16 as Redis Cluster has it: XMODEM, with the polynomial 0x1021.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
        })
    })
}

/// Which node serves which slots, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// First and last slot, and the node, in the order of the slots.
    ranges: Vec<(u16, u16, Place)>,
    replicas: Vec<Place>,
}

impl SlotMap {
    /// Reads the reply to `CLUSTER SLOTS` by the node at `asked`; `None` if it is none.
    pub(super) fn parse(reply: &Value, asked: &Place) -> Option<Self> {
        let mut map = Self::default();
        for row in array(reply)? {
            let row = array(row)?;
            let (first, last) = (number(row.first()?)?, number(row.get(1)?)?);
            let mut nodes = row.iter().skip(2).map(|node| place(node, asked));
            map.ranges.push((first, last, nodes.next()??));
            map.replicas.extend(nodes.flatten());
        }
        map.ranges.sort();
        map.replicas.sort();
        map.replicas.dedup();
        Some(map)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The node that serves `slot`.
    pub(super) fn owner(&self, slot: u16) -> Option<&Place> {
        let at = self.ranges.partition_point(|(_, last, _)| *last < slot);
        self.ranges.get(at).filter(|(first, ..)| *first <= slot).map(|(.., place)| place)
    }

    /// The nodes that serve slots, each once.
    pub(super) fn masters(&self) -> Vec<Place> {
        let mut seen = HashSet::new();
        let places = self.ranges.iter().map(|(.., place)| place);
        places.filter(|place| seen.insert(*place)).cloned().collect()
    }

    /// All nodes, each once.
    pub(super) fn nodes(&self) -> Vec<Place> {
        let mut nodes = self.masters();
        nodes.extend(self.replicas.iter().cloned());
        nodes
    }
}

/// Where a redirection points, as in `3999 127.0.0.1:6381`; the host is left out where it is the
/// one that was asked.
pub(super) fn redirected(detail: &str, asked: &Place) -> Option<(u16, Place)> {
    let (slot, address) = detail.split_once(' ')?;
    let (host, port) = address.split_whitespace().next()?.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((slot.parse().ok()?, known(host, port.parse().ok()?, asked)?))
}

fn place(node: &Value, asked: &Place) -> Option<Place> {
    let node = array(node)?;
    let host = match node.first()? {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    known(host, number(node.get(1)?)?, asked)
}

/// A node that does not know its own name or address leaves it out.
fn known(host: &str, port: u16, asked: &Place) -> Option<Place> {
    match (host, asked) {
        ("" | "?", Place::Tcp(host, _)) => Some(Place::Tcp(host.clone(), port)),
        ("" | "?", Place::Unix(_)) => None,
        (host, _) => Some(Place::Tcp(host.to_owned(), port)),
    }
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Place {
        Place::Tcp("h".into(), port)
    }

    fn node(host: &str, port: i64) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(vec![text(host), Value::Int(port), text("id")])
    }

    /// The values of the specification, and of `CLUSTER KEYSLOT`.
    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(of_key(b"foo"), 12_182);
        assert_eq!(of_key(b"kenning:{foo}:order"), 12_182);
        assert_eq!(of_key(b"{}foo"), crc16(b"{}foo") % SLOTS);
        assert_eq!(of_key(b"a{foo}{bar}"), 12_182);
    }

    #[test]
    fn the_key_of_a_command_is_found() {
        let slot = |words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            for word in &words[1..] {
                command.arg(*word);
            }
            of_command(&command)
        };
        assert_eq!(slot(&["GET", "{foo}a"]), Some(12_182));
        assert_eq!(slot(&["EVALSHA", "digest", "1", "{foo}a", "x"]), Some(12_182));
        assert_eq!(slot(&["XREAD", "COUNT", "3", "STREAMS", "{foo}a", "0"]), Some(12_182));
        assert_eq!(slot(&["CONFIG", "GET", "maxmemory-policy"]), None);
    }

    #[test]
    fn the_owner_of_each_slot_is_found() {
        let row = |first, last, nodes: &[Value]| {
            let mut row = vec![Value::Int(first), Value::Int(last)];
            row.extend_from_slice(nodes);
            Value::Array(row)
        };
        let reply = Value::Array(vec![
            row(8_000, 16_383, &[node("h", 2), node("h", 4)]),
            row(0, 4_999, &[node("", 1)]),
        ]);
        let map = SlotMap::parse(&reply, &at(9)).unwrap();
        assert_eq!(map.owner(0), Some(&at(1)));
        assert_eq!(map.owner(4_999), Some(&at(1)));
        assert_eq!(map.owner(5_000), None);
        assert_eq!(map.owner(16_383), Some(&at(2)));
        assert_eq!(map.masters(), [at(1), at(2)]);
        assert_eq!(map.nodes(), [at(1), at(2), at(4)]);
        assert_eq!(SlotMap::parse(&Value::Okay, &at(9)), None);
    }

    #[test]
    fn redirections_name_a_slot_and_a_node() {
        assert_eq!(redirected("3999 h:1", &at(9)), Some((3_999, at(1))));
        assert_eq!(redirected("3999 :1", &at(9)), Some((3_999, at(1))));
        let six = Place::Tcp("::1".into(), 1);
        assert_eq!(redirected("3999 ::1:1", &at(9)), Some((3_999, six)));
        assert_eq!(redirected("3999", &at(9)), None);
    }
}
