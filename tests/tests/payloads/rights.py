# Every right over files, one after the other, in a directory of one's own and in one that isn't.
os.mkdir("own")
for where, directory in (("own", "own"), ("host", "/usr/share"), ("root", "/")):
    def there(name):
        return os.path.join(directory, name)

    attempt(f"{where} list", lambda: len(os.listdir(directory)) >= 0)
    attempt(f"{where} make file", lambda: write(there("new"), b"x", os.O_CREAT))
    attempt(f"{where} make directory", lambda: os.mkdir(there("sub")))
    attempt(f"{where} make fifo", lambda: os.mkfifo(there("fifo")))
    attempt(f"{where} make link", lambda: os.symlink("x", there("link")))
    attempt(f"{where} make hard link", lambda: os.link("/workspace/main.py", there("hard")))
    attempt(f"{where} truncate", lambda: os.truncate(there("new"), 0))
    attempt(f"{where} rename", lambda: os.rename(there("fifo"), there("other")))
    attempt(f"{where} remove", lambda: os.unlink(there("new")))
    attempt(f"{where} remove directory", lambda: os.rmdir(there("sub")))
attempt("host truncate program", lambda: os.truncate("/usr/bin/env", 0))
attempt("host append", lambda: write("/usr/bin/env", b"x", os.O_APPEND))
attempt("own socket", lambda: socket.socket(socket.AF_UNIX).bind("own/socket"))
