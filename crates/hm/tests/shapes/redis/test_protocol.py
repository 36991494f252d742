import io
import unittest

import wire


class Protocol(unittest.TestCase):
    def test_words_are_counted_and_measured(self):
        self.assertEqual(wire.encode("GET", "é"), b"*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xa9\r\n")

    def test_answers(self):
        stream = io.BytesIO(b"+OK\r\n:7\r\n$-1\r\n*2\r\n$1\r\na\r\n:1\r\n")
        self.assertEqual([wire.decode(stream) for _ in range(4)], ["OK", 7, None, [b"a", 1]])
