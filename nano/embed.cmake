# cmake -DINPUT=file -DOUTPUT=file.cpp -P embed.cmake: the bytes of a file as a C++ array.
file(READ ${INPUT} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR size "${digits} / 2")
string(REPEAT "[0-9a-f]" 32 sixteen_bytes)
string(REGEX REPLACE "(${sixteen_bytes})" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"nano/embedded.h\"

namespace mattec::nano {
const unsigned char weight_file[] = {
${bytes}};
const unsigned long weight_file_size = ${size};
}  // namespace mattec::nano
")
