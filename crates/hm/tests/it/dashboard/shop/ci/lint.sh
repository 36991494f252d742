g='\033[1;32m' y='\033[1;33m' b='\033[1;34m' n='\033[0m'
printf "$g    Checking$n checkout v2.4.0\n"
printf "$y""warning$n: this argument is passed by value, but not consumed\n"
printf "  $b-->$n checkout/src/card.rs:41:18\n$g    Finished$n dev profile\n"
