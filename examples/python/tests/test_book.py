import unittest

from ledger import Book, UnbalancedEntry


class BookTest(unittest.TestCase):
    def test_balances_add_up_to_nothing(self):
        book = Book()
        book.enter("capital", cash=100_000, equity=-100_000)
        book.enter("rent", cash=-50_000, rent=50_000)
        self.assertEqual(book.balances(), {"cash": 50_000, "equity": -100_000, "rent": 50_000})
        self.assertEqual(sum(book.balances().values()), 0)

    def test_an_account_without_a_balance_is_left_out(self):
        book = Book()
        book.enter("there", cash=5, friend=-5)
        book.enter("and back", cash=-5, friend=5)
        self.assertEqual(book.balances(), {})

    def test_an_unbalanced_entry_is_refused(self):
        with self.assertRaisesRegex(UnbalancedEntry, "off by 1 cents"):
            Book().enter("typo", cash=-99, rent=100)


if __name__ == "__main__":
    unittest.main()
