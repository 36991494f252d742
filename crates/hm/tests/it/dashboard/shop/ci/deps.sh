g='\033[1;32m' n='\033[0m'
printf "$g    Updating$n index\n$g     Locking$n 214 packages\n$g  Downloaded$n 214 packages (31.4 MB)\n"
