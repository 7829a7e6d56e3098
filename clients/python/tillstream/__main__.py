"""`python -m tillstream`."""

from tillstream.cli.main import main

if __name__ == "__main__":
    main(prog_name="tillstream")
