import unittest

import tally


class MostCommon(unittest.TestCase):
    def test_counts_without_regard_to_case(self):
        self.assertEqual(tally.most_common("The cat, the hat", 1), [("the", 2)])

    def test_nothing(self):
        self.assertEqual(tally.most_common("", 3), [])
