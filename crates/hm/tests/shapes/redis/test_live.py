import os
import unittest

import wire


class Live(unittest.TestCase):
    def setUp(self):
        self.redis = wire.Client(os.environ["REDIS"])
        self.addCleanup(self.redis.close)
        self.redis("FLUSHALL")

    def test_what_is_set_is_there(self):
        self.assertEqual(self.redis("SET", "a", "1"), "OK")
        self.assertEqual(self.redis("INCR", "a"), 2)
        self.assertEqual(self.redis("GET", "a"), b"2")

    def test_a_fault_is_told(self):
        with self.assertRaises(RuntimeError):
            self.redis("NOPE")
