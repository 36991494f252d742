g='\033[1;32m' n='\033[0m'
for part in money v1.4.0 stock v2.0.1 cart v2.4.0 checkout v2.4.0 shop v3.1.0; do
    case $part in v*) printf " $part\n" ;; *) printf "$g   Compiling$n $part" ;; esac
done
printf "$g    Finished$n dev profile [unoptimized + debuginfo]\n"
