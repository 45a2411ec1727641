

# --- what a cell has to show (the rest of python.py) ---------------------------------------------------

REPRESENTATIONS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "application/json": "_repr_json_",
}


def rich(value):
    """What a value looks like, by media type; all of it text, bytes in base64."""
    data = {"text/plain": repr(value)}
    if isinstance(value, (dict, list, tuple, str, int, float)):
        try:
            data["application/json"] = dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            pass  # not everything is JSON
    if isinstance(value, type):
        return data
    for media_type, method in REPRESENTATIONS.items():
        if (represent := getattr(type(value), method, None)) is not None:
            add(data, media_type, represent(value))
    if (bundle := getattr(type(value), "_repr_mimebundle_", None)) is not None:
        given = bundle(value)
        given = given[0] if isinstance(given, tuple) else given
        for media_type, each in (given or {}).items():
            add(data, str(media_type), each)
    return data


def add(data, media_type, given):
    given = given[0] if isinstance(given, tuple) else given  # with metadata
    if isinstance(given, (bytes, bytearray)):
        import binascii

        data[media_type] = binascii.b2a_base64(given, newline=False).decode()
    elif isinstance(given, str):
        data[media_type] = given
    elif given is not None:
        data[media_type] = dumps(given)


def picture(figure):
    import io

    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight")
    figure.savefig(svg, format="svg", bbox_inches="tight")
    data = {"text/plain": repr(figure)}
    add(data, "image/png", png.getvalue())
    add(data, "image/svg+xml", svg.getvalue().decode("utf-8", "replace"))
    return data
