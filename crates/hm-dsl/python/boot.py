"""The first file that Python runs. Every Python 3 can read it, so that an old one can say that it is too old."""

import sys

if sys.version_info < (3, 9):
    sys.stdout.write('{"too_old":"%d.%d.%d"}' % sys.version_info[:3])
else:
    from hm_host.main import main

    main()
