FROM configs AS final
RUN echo looking for the compiler && gcc --version
