# Hardening of the shipped binary (not with sanitizers, which bring their own checks).
if(CMAKE_BUILD_TYPE MATCHES "Release|RelWithDebInfo" AND ESCLUSA_SANITIZE STREQUAL "")
  add_compile_options(-fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE
                      -D_FORTIFY_SOURCE=3)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64|AMD64")
    add_compile_options(-fcf-protection)
  endif()
  add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack -pie)
endif()
