"""Run with `make test`."""

import json
import unittest

from greeting import greeted


class Greeting(unittest.TestCase):
    def test_every_fact_is_greeted(self):
        fields = json.loads(greeted('{"topic": "tea"}'))
        self.assertEqual(fields, {"topic": "tea", "greeting": "hello from {{name}}"})


if __name__ == "__main__":
    unittest.main()
