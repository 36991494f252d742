g='\033[32m' d='\033[2m' n='\033[0m'
printf "${d}3 browsers, 42 tests$n\n"
for name in "opens the shop" "finds a product" "puts it in the cart" "changes the amount"; do
    printf "  $g✓$n $name\n"
done
sleep 1000
