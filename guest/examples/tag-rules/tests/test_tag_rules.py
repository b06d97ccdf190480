"""Run with `make test`."""

import json
import unittest

from tag_rules import tags_of, with_tags


class Tags(unittest.TestCase):
    def test_matching_rules_give_tags(self):
        for text, tags in [
            ("The outage of OPS-1234 cost 3,000 EUR.", ["incident", "ticket", "money"]),
            ("We decided to use tea. Due by Friday.", ["decision", "deadline"]),
            ("See https://example.com", ["link"]),
            ("Tea is hot, ops-1 and downstairs.", []),
        ]:
            with self.subTest(text):
                self.assertEqual(tags_of(text), tags)

    def test_new_tags_are_added_to_existing_ones(self):
        metadata = json.dumps({"tags": ["money", "mine"], "n": 1})
        fields = json.loads(with_tags("An incident for $5", metadata))
        self.assertEqual(fields, {"tags": ["money", "mine", "incident"], "n": 1})

    def test_metadata_is_unchanged_if_there_is_nothing_to_add(self):
        for text, metadata in [
            ("Tea is hot.", '{ "n" : 1.10 }'),
            ("An incident", '{"tags" : ["incident"]}'),
            ("An incident", '{"tags" : "a, b"}'),
        ]:
            self.assertEqual(with_tags(text, metadata), metadata)


if __name__ == "__main__":
    unittest.main()
