g='\033[32m' r='\033[31m' b='\033[1m' d='\033[2m' n='\033[0m'
printf "running 9 tests\n"
for name in cart::adds_an_item cart::forgets_what_is_gone cart::keeps_its_order \
    money::adds_up money::rounds_to_even stock::counts_down; do
    printf "test $name ... ${g}ok$n\n"
done
printf "test stock::reserves_once ... ${r}FAILED$n\n"
printf "test checkout::charges_the_card ... ${g}ok$n\n"
printf "test checkout::sends_a_receipt ... ${g}ok$n\n\n"
printf "${b}failures:$n\n\n"
printf "${d}---- stock::reserves_once ----$n\n"
printf "thread 'stock::reserves_once' panicked at stock/src/reserve.rs:88:9:\n"
printf "assertion ${r}left == right$n failed: two orders took the last item\n  left: ${r}2$n\n right: ${g}1$n\n\n"
printf "test result: ${r}FAILED$n. 8 passed; 1 failed; 0 ignored\n"
exit 101
