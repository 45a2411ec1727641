# Looks for a name in the whole tree, /proc and the hardware's tree aside.
def find(needle):
    found = []
    for root, directories, files in os.walk("/"):
        if root == "/":
            directories[:] = [name for name in directories if name not in ("proc", "sys")]
        found += [os.path.join(root, name) for name in directories + files if needle in name]
    return found
