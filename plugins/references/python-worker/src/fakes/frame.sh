# Sends a JSON text of up to 255 bytes, without a blob.
frame() {
    printf "\\$(printf %03o ${#1})\\000\\000\\000%s\\000\\000\\000\\000\\000\\000\\000\\000" "$1"
}
